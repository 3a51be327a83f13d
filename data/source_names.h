// What the datasets of a recipe are called in metrics and tables.
#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"

namespace hone::data {

// For each source the shortest end of its path, without the extension, that no other has: "chat",
// or "a/train" beside "b/train". The same path again is told apart by its configuration and split,
// "chat:en:test", and what is still the same by a number: "chat", "chat#2".
std::vector<std::string> source_names(const std::vector<DatasetSource>& sources);

}  // namespace hone::data
