#include "data/packing.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

namespace hone::data {

std::vector<std::vector<uint32_t>> pack_best_fit(const std::vector<int64_t>& lengths,
                                                 int64_t capacity) {
  std::vector<uint32_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return lengths[a] > lengths[b]; });
  std::vector<std::vector<uint32_t>> packs;
  std::set<std::pair<int64_t, size_t>> room;  // (room left, pack)
  for (const uint32_t row : order) {
    const auto best = room.lower_bound({lengths[row], 0});
    size_t pack = packs.size();
    int64_t left = capacity;
    if (best != room.end()) {
      std::tie(left, pack) = *best;
      room.erase(best);
    } else {
      packs.emplace_back();
    }
    packs[pack].push_back(row);
    room.insert({left - lengths[row], pack});
  }
  return packs;
}

}  // namespace hone::data
