// Whether a checkpoint belongs to the run that wants to resume from it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"

namespace hone::trainer {

struct IdentityDifference {
  std::string key;         // "adapter.r"
  std::string checkpoint;  // JSON text, "(absent)" if the checkpoint lacks the key
  std::string now;
  bool harmless = false;
};

// Keys whose change leaves what was trained so far valid: learning rate and its schedule,
// max_steps, how often to log, evaluate and save, where to write and push, recompute, save_dtype.
// `key` is a dotted path; its last part counts.
bool is_harmless_key(std::string_view key);

// In the order of `now`, then what only the checkpoint has. Objects are compared key by key.
std::vector<IdentityDifference> identity_differences(const core::Json& checkpoint,
                                                     const core::Json& now);

// A table with one line a difference: key, checkpoint, this run.
std::string format_differences(const std::vector<IdentityDifference>& differences);

// Throws kBadRecipe with the table when a difference is not harmless; logs the harmless ones.
// `where` is the checkpoint.
void check_identity(const core::Json& checkpoint, const core::Json& now, const std::string& where);

}  // namespace hone::trainer
