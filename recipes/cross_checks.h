// Checks that need more than one key, or the file system.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "models/spec/model_spec.h"
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

// Keys that exclude or need each other, and the adapter that is continued.
void check_combinations(const CheckContext& context);

// Model, tokenizer and datasets: paths that there are, or what may be ids.
void check_files(const CheckContext& context);

// The config.json of a model that is a folder, or what is wrong with it; neither of an id.
struct LocalModel {
  std::optional<models::ModelSpec> spec = {};
  std::optional<core::Error> error = {};
};
LocalModel read_local_model(const CheckContext& context);

}  // namespace hone::recipes
