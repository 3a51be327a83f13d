// From a YAML node to the value a key asks for, and back to YAML text.
#pragma once

#include <optional>
#include <string>

#include "core/json.h"
#include "core/yaml.h"
#include "recipes/schema.h"

namespace hone::recipes {

struct ValueProblem {
  int line = 0;
  std::string message;  // "got X, expected Y"
};

// The value of a key that is neither kMap nor kMapList, or what is wrong with it. Quoted scalars
// are text, never numbers.
std::optional<core::Json> value_of(const core::YamlNode& node, const KeySpec& key,
                                   ValueProblem& problem);

// default_value as the type of the key; null when there is none.
core::Json default_of(const KeySpec& key);

// As a message shows it: "'many'", "a list".
std::string describe(const core::YamlNode& node);

// Block style, keys in order, nulls left out.
std::string dump_yaml(const core::Json& map);

}  // namespace hone::recipes
