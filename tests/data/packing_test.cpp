#include "data/packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace hone::data {
namespace {

using Packs = std::vector<std::vector<uint32_t>>;

TEST(PackingTest, LongestFirstIntoTheFullestPackThatFits) {
  EXPECT_EQ(pack_best_fit({3, 7, 2, 5, 6}, 10), (Packs{{1, 0}, {4, 2}, {3}}));
}

TEST(PackingTest, EqualRowsKeepTheirOrder) {
  EXPECT_EQ(pack_best_fit({5, 5, 5, 5}, 10), (Packs{{0, 1}, {2, 3}}));
}

TEST(PackingTest, NothingToPack) { EXPECT_TRUE(pack_best_fit({}, 10).empty()); }

TEST(PackingTest, EveryRowOnceAndNoPackOverFull) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<int64_t> lengths(200);
    for (int64_t& length : lengths) length = 1 + random() % 100;
    const Packs packs = pack_best_fit(lengths, 100);
    std::vector<uint32_t> seen;
    for (const auto& pack : packs) {
      int64_t sum = 0;
      for (const uint32_t row : pack) sum += lengths[row];
      EXPECT_LE(sum, 100);
      seen.insert(seen.end(), pack.begin(), pack.end());
    }
    std::sort(seen.begin(), seen.end());
    std::vector<uint32_t> all(lengths.size());
    std::iota(all.begin(), all.end(), 0u);
    EXPECT_EQ(seen, all);
    const int64_t total = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
    EXPECT_LE(static_cast<int64_t>(packs.size()), total / 100 + 12);  // packs are nearly full
  }
}

}  // namespace
}  // namespace hone::data
