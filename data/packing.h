// Which rows share a pack.
#pragma once

#include <cstdint>
#include <vector>

namespace hone::data {

// Best-fit decreasing: rows go, longest first (ties: in order), to the pack with the least room
// that still holds them (ties: the older pack). Returns, for each pack, indices into `lengths`.
// Each length is at most `capacity`.
std::vector<std::vector<uint32_t>> pack_best_fit(const std::vector<int64_t>& lengths,
                                                 int64_t capacity);

}  // namespace hone::data
