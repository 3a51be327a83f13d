#include "recipes/schema.h"

#include <algorithm>

#include "recipes/schema_keys.h"

namespace hone::recipes {
namespace {

std::vector<KeySpec> make_schema() {
  std::vector<KeySpec> table;
  add_input_keys(table);
  add_run_keys(table);
  add_watch_keys(table);
  return table;
}

}  // namespace

const std::vector<KeySpec>& recipe_schema() {
  static const std::vector<KeySpec> table = make_schema();
  return table;
}

const KeySpec* find_key(std::string_view name) {
  const auto& table = recipe_schema();
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const KeySpec& k) { return k.name == name; });
  return found == table.end() ? nullptr : &*found;
}

std::vector<std::string> keys_below(std::string_view prefix) {
  std::vector<std::string> names;
  for (const KeySpec& key : recipe_schema()) {
    if (!key.name.starts_with(prefix)) continue;
    std::string rest = key.name.substr(prefix.size());
    if (rest.find_first_of(".[") == std::string::npos) names.push_back(std::move(rest));
  }
  return names;
}

}  // namespace hone::recipes
