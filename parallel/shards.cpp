#include "parallel/shards.h"

#include <algorithm>

namespace hone::parallel {
namespace {

constexpr int64_t kAlignment = 16;  // elements: a cache line of float32

int64_t boundary(int64_t count, int64_t index, int64_t num_parts) {
  if (index == num_parts) return count;
  // count * index may not fit.
  const auto exact = static_cast<int64_t>(static_cast<__int128>(count) * index / num_parts);
  return exact / kAlignment * kAlignment;
}

}  // namespace

ElementRange part_of(int64_t count, int64_t index, int64_t num_parts) {
  return {boundary(count, index, num_parts), boundary(count, index + 1, num_parts)};
}

std::vector<int64_t> part_sizes(int64_t count, int64_t num_parts) {
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < num_parts; ++i) sizes.push_back(part_of(count, i, num_parts).size());
  return sizes;
}

ElementRange intersect(const ElementRange& a, const ElementRange& b) {
  const int64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

}  // namespace hone::parallel
