#include "parallel/shards.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace hone::parallel {
namespace {

std::vector<int64_t> counts() {
  std::vector<int64_t> counts;
  for (int64_t count = 0; count <= 200; ++count) counts.push_back(count);
  for (int bit = 8; bit <= 62; ++bit) {
    const int64_t power = int64_t{1} << bit;
    for (const int64_t near : {-17, -16, -1, 0, 1, 16}) {
      if (near <= 0 || bit < 62) counts.push_back(power + near);
    }
  }
  return counts;
}

constexpr int64_t kMostParts = 9;

TEST(Shards, PartsTileTheElementsAndBeginAtMultiplesOf16) {
  for (const int64_t count : counts()) {
    for (int64_t num_parts = 1; num_parts <= kMostParts; ++num_parts) {
      int64_t end = 0;
      for (int64_t i = 0; i < num_parts; ++i) {
        const ElementRange part = part_of(count, i, num_parts);
        EXPECT_EQ(part.begin, end) << count << " in " << num_parts;
        EXPECT_GE(part.size(), 0) << count << " in " << num_parts;
        EXPECT_EQ(part.begin % 16, 0) << count << " in " << num_parts;
        end = part.end;
      }
      EXPECT_EQ(end, count) << num_parts;
    }
  }
}

TEST(Shards, PartsDifferByUpTo31) {
  int64_t most = 0;
  for (const int64_t count : counts()) {
    for (int64_t num_parts = 1; num_parts <= kMostParts; ++num_parts) {
      const auto sizes = part_sizes(count, num_parts);
      const auto [least, largest] = std::ranges::minmax(sizes);
      most = std::max(most, largest - least);
      EXPECT_LE(largest - least, 31) << count << " in " << num_parts;
    }
  }
  EXPECT_EQ(most, 31);  // 31 elements in two: none and all
}

TEST(Shards, TwiceAsManyPartsCutEachInTwo) {
  for (const int64_t count : counts()) {
    for (int64_t num_parts = 1; num_parts <= kMostParts; ++num_parts) {
      for (int64_t i = 0; i < num_parts; ++i) {
        const ElementRange whole = part_of(count, i, num_parts);
        const ElementRange low = part_of(count, 2 * i, 2 * num_parts);
        const ElementRange high = part_of(count, 2 * i + 1, 2 * num_parts);
        EXPECT_EQ(low.begin, whole.begin) << count << " in " << num_parts;
        EXPECT_EQ(low.end, high.begin) << count << " in " << num_parts;
        EXPECT_EQ(high.end, whole.end) << count << " in " << num_parts;
      }
    }
  }
}

using Sizes = std::vector<int64_t>;

TEST(Shards, SizesAreThoseOfTheParts) {
  EXPECT_EQ(part_sizes(100, 1), (Sizes{100}));
  EXPECT_EQ(part_sizes(100, 3), (Sizes{32, 32, 36}));
  EXPECT_EQ(part_sizes(64, 4), (Sizes{16, 16, 16, 16}));
  EXPECT_EQ(part_sizes(20, 4), (Sizes{0, 0, 0, 20}));
  EXPECT_EQ(part_sizes(0, 2), (Sizes{0, 0}));
  EXPECT_EQ(part_of(100, 2, 3), (ElementRange{64, 100}));
}

TEST(Shards, IntersectionIsWhatBothHave) {
  EXPECT_EQ(intersect({0, 10}, {4, 20}), (ElementRange{4, 10}));
  EXPECT_EQ(intersect({4, 20}, {0, 10}), (ElementRange{4, 10}));
  EXPECT_EQ(intersect({0, 10}, {2, 5}), (ElementRange{2, 5}));
  EXPECT_EQ(intersect({0, 10}, {0, 10}), (ElementRange{0, 10}));
}

TEST(Shards, WhatDoesNotMeetHasAnEmptyIntersection) {
  EXPECT_EQ(intersect({0, 10}, {10, 20}).size(), 0);
  EXPECT_EQ(intersect({0, 10}, {15, 20}).size(), 0);
  EXPECT_EQ(intersect({15, 20}, {0, 10}).size(), 0);
  EXPECT_EQ(intersect({0, 10}, {3, 3}).size(), 0);
  EXPECT_EQ(intersect({3, 3}, {0, 10}).size(), 0);
}

}  // namespace
}  // namespace hone::parallel
