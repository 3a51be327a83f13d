#include "core/rng.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace hone::core {
namespace {

using Words = std::array<uint32_t, 4>;

// The known answers that the authors of Philox publish for philox4x32 with 10 rounds.
TEST(Rng, PhiloxKnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, ~uint64_t{0}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, EveryArgumentChangesTheDraw) {
  const std::set<uint64_t> draws{
      random_bits(1, RngSite::kLoraInit, 0, 0, 0), random_bits(2, RngSite::kLoraInit, 0, 0, 0),
      random_bits(1, RngSite::kSampling, 0, 0, 0), random_bits(1, RngSite::kLoraInit, 1, 0, 0),
      random_bits(1, RngSite::kLoraInit, 0, 1, 0), random_bits(1, RngSite::kLoraInit, 0, 0, 1)};
  EXPECT_EQ(draws.size(), 6u);
}

TEST(Rng, UniformIsInRangeWithTheRightMean) {
  double sum = 0;
  for (uint64_t i = 0; i < 20'000; ++i) {
    const double value = random_uniform(42, RngSite::kLoraDropout, 3, 7, i);
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
  }
  EXPECT_NEAR(sum / 20'000, 0.5, 0.01);
}

TEST(Rng, PermutationIsABijectionForEverySize) {
  for (uint64_t n : {1u, 2u, 3u, 4u, 5u, 17u, 64u, 65u, 1000u}) {
    std::vector<bool> seen(n);
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t value = random_permutation(42, RngSite::kDataOrder, 0, n, i);
      ASSERT_LT(value, n);
      ASSERT_FALSE(seen[value]) << "n " << n << ", " << value << " twice";
      seen[value] = true;
    }
  }
}

TEST(Rng, PermutationDependsOnSeedAndStream) {
  const auto order = [](uint64_t seed, uint32_t stream) {
    std::vector<uint64_t> values;
    for (uint64_t i = 0; i < 50; ++i)
      values.push_back(random_permutation(seed, RngSite::kDataOrder, stream, 50, i));
    return values;
  };
  EXPECT_EQ(order(1, 0), order(1, 0));
  EXPECT_NE(order(1, 0), order(2, 0));
  EXPECT_NE(order(1, 0), order(1, 1));
}

}  // namespace
}  // namespace hone::core
