// Which elements of a stage's flat buffer a rank of dp_shard keeps, and of what.
#pragma once

#include <cstdint>
#include <vector>

namespace hone::parallel {

// dp_shard_level, as the stages of ZeRO (arXiv:1910.02054).
inline constexpr int64_t kShardOptimizer = 1, kShardGradients = 2, kShardParameters = 3;

struct ElementRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
  bool operator==(const ElementRange&) const = default;
};

// Part `index` of `num_parts` of `count` elements: contiguous, in order, and beginning at multiples
// of 16 elements, so parts differ by up to 31. Parts of 2 n cut those of n in two.
ElementRange part_of(int64_t count, int64_t index, int64_t num_parts);

// How many elements each of the parts has: the counts of a collective.
std::vector<int64_t> part_sizes(int64_t count, int64_t num_parts);

// What both have; an empty range where that is nothing.
ElementRange intersect(const ElementRange& a, const ElementRange& b);

}  // namespace hone::parallel
