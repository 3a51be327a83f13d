// --set key=value, applied to the YAML tree before it is checked.
#pragma once

#include <string>
#include <vector>

#include "core/yaml.h"
#include "recipes/check.h"

namespace hone::recipes {

// Renames the keys other tools use to ours, moving them where they belong ("lora_r" to
// "adapter.r"), with a note each.
void rename_aliases(core::YamlNode& root, const std::string& path, CheckedRecipe& checked,
                    std::vector<Problem>& problems);

// Nodes set by override i get line -1 - i.
void apply_overrides(core::YamlNode& root, const std::vector<std::string>& overrides,
                     CheckedRecipe& checked, std::vector<Problem>& problems);

// "--set max_steps" of "max_steps=3".
std::string override_place(const std::string& assignment);

}  // namespace hone::recipes
