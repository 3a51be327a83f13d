// Every recipe key in one table. The validator, the JSON Schema and docs/recipe_reference.md are
// made from it.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"

namespace hone::recipes {

enum class ValueType {
  kBool,
  kInteger,
  kNumber,
  kText,
  kChoice,
  kTextList,    // a list of text
  kTextOrList,  // text, or a list of text
  kTextMap,     // any keys, text values
  kMap,         // keys of its own: "adapter" has "adapter.r"
  kMapList,     // a list of such: "datasets" has "datasets[].path"
};

struct KeySpec {
  std::string name;  // "adapter.r", "datasets[].path"
  ValueType type = ValueType::kText;
  std::string default_value;  // as written in YAML; "" means not set
  std::string doc;            // one sentence or two
  bool required = false;
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  bool exclusive_minimum = false, exclusive_maximum = false;
  std::vector<std::string> choices;
  std::vector<std::string>
      aliases;          // names other tools give it, in full ("lora_r" for "adapter.r")
  std::string section;  // heading of the reference
};

// In the order of the reference. A map comes before its keys.
const std::vector<KeySpec>& recipe_schema();

const KeySpec* find_key(std::string_view name);

// The keys directly below `prefix` ("" for the top, "adapter.", "datasets[]."), without the prefix.
std::vector<std::string> keys_below(std::string_view prefix);

// "a whole number, at least 1", "one of: linear, cosine".
std::string expected_text(const KeySpec& key);

// A JSON Schema (draft 2020-12) that editors use for completion and checks. Aliases are not in it.
core::Json recipe_json_schema();

// docs/recipe_reference.md.
std::string recipe_reference();

}  // namespace hone::recipes
