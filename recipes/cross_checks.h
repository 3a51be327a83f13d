// Checks that need more than one key, or the file system.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "recipes/check.h"

namespace hone::recipes {

struct CheckContext {
  const CheckedRecipe& checked;
  std::vector<Problem>& problems;
  std::vector<std::string>& notes;

  const core::Json& at(const std::string& key) const { return checked.values.at(key); }
  bool given(const std::string& path) const { return checked.places.contains(path); }
  void report(const std::string& path, const std::string& message) const;
};

// Paths, ids and keys that exclude or need each other.
void check_combinations(const CheckContext& context);

// Reads the config.json of a local model folder. Returns what is wrong with the model, if anything.
std::optional<core::Error> check_local_model(const CheckContext& context);

}  // namespace hone::recipes
