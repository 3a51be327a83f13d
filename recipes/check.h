// YAML against the schema: aliases renamed, overrides applied, every value checked, defaults filled
// in.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/yaml.h"

namespace hone::recipes {

struct Problem {
  int line = 0;         // of the recipe; 0 for an override
  std::string where;    // "--set max_steps" for an override
  std::string message;  // "max_steps: got 'many', expected a whole number, at least 1"
};

struct Place {
  int line = 0;
  std::string where;
};

// Of a key, where it was given; the first line where it was not.
Problem problem_at(const std::map<std::string, Place>& places, const std::string& key,
                   const std::string& message);

// Throws kBadRecipe where there are any, in the order of the file, overrides last; `path` is the
// recipe's.
void throw_problems(std::vector<Problem> problems, const std::string& path);

struct CheckedRecipe {
  core::Json values =
      core::Json::object();  // every key by its own name, defaults filled in, null when not set
  std::map<std::string, Place> places;  // "datasets[0].path" -> where it was given
  std::vector<std::string> notes;       // accepted names of other tools, with their line
};

// `overrides` are the "key=value" of --set. Everything wrong goes to `problems`, which may hold the
// parser's already.
CheckedRecipe check_recipe(core::YamlNode root, const std::vector<std::string>& overrides,
                           const std::string& path, std::vector<Problem>& problems);

}  // namespace hone::recipes
