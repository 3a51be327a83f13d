// The rows of the schema, in two files.
#pragma once

#include <vector>

#include "recipes/schema.h"

namespace hone::recipes {

void add_input_keys(std::vector<KeySpec>& t);  // model, adapter, data
void add_run_keys(std::vector<KeySpec>& t);    // batch, optimizer, layout, output, hub

}  // namespace hone::recipes
