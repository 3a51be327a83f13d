// The rows of the schema, a file for each part.
#pragma once

#include <vector>

#include "recipes/schema.h"

namespace hone::recipes {

void add_input_keys(std::vector<KeySpec>& t);  // model, adapter, data
void add_run_keys(std::vector<KeySpec>& t);    // batch, optimizer, layout, output, hub
void add_watch_keys(std::vector<KeySpec>& t);  // samples, choice of a checkpoint

}  // namespace hone::recipes
