// Model folders made on the spot: shapes that no committed model has.
#pragma once

#include <filesystem>
#include <string>

namespace hone::trainer {

// "nine": 9 query and 3 key/value heads, a width, a vocabulary and a number of layers that nothing
// divides. "eight": 8 and 2 heads, 4 layers; with "_tied", "_bias" (of every projection), "_window"
// (sliding, one layer in two), "_norm" (of queries and keys) or "_wide" (416 tokens more: as many
// as tiny-chat's data have and then some) behind it. Random weights, the same for the same name.
void make_model(const std::string& name, const std::filesystem::path& folder);

}  // namespace hone::trainer
