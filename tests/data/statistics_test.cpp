#include "data/statistics.h"

#include <gtest/gtest.h>

#include "data/token_cache.h"
#include "tests/data/support.h"

namespace hone::data {
namespace {

TokenCache cache_of(const std::filesystem::path& folder, const std::vector<size_t>& lengths) {
  TokenCacheWriter writer(folder, "key");
  int64_t tokens = 0;
  for (const size_t length : lengths) {
    writer.append({std::vector<int32_t>(length, 1), std::vector<uint8_t>(length, length > 1)});
    tokens += static_cast<int64_t>(length);
  }
  writer.finish({.num_rows = std::ssize(lengths), .num_tokens = tokens, .num_trained_tokens = 1});
  return TokenCache::open(folder);
}

TEST(LengthHistogram, CountsEveryRowOnceInRoundRanges) {
  const core::TempFolder folder;
  const auto bins = length_histogram(cache_of(folder.path() / "c", {1, 5, 6, 10, 11, 47}), 10);
  ASSERT_EQ(bins.size(), 10u);
  EXPECT_EQ(bins[0].low, 1);
  EXPECT_EQ(bins[0].high, 5);
  EXPECT_EQ(bins[0].num_rows, 2);
  EXPECT_EQ(bins[1].num_rows, 2);
  EXPECT_EQ(bins[2].num_rows, 1);
  EXPECT_EQ(bins[9].num_rows, 1);
  int64_t rows = 0;
  for (const LengthBin& bin : bins) rows += bin.num_rows;
  EXPECT_EQ(rows, 6);
}

TEST(LengthHistogram, HasNoMoreRangesThanAsked) {
  const core::TempFolder folder;
  for (const size_t longest : {1u, 2u, 24u, 25u, 100u, 1024u, 4097u}) {
    const auto bins =
        length_histogram(cache_of(folder.path() / std::to_string(longest), {longest}), 24);
    EXPECT_LE(bins.size(), 24u) << longest;
    EXPECT_EQ(bins.back().num_rows, 1) << longest;
  }
}

TEST(PackingFill, IsTokensByRoomAndLeavesUntrainedRowsOut) {
  const core::TempFolder folder;
  // The row of one token yields no label, so it is in no pack.
  const TokenCache cache = cache_of(folder.path() / "c", {6, 4, 5, 1});
  const Loader loader(cache, {.packing = true, .max_length = 10});
  EXPECT_DOUBLE_EQ(packing_fill(cache, loader, 10), 15.0 / 20.0);
}

TEST(PackingFill, CountsWhatEachSourceGives) {
  const core::TempFolder folder;
  TokenCacheWriter writer(folder.path() / "c", "key");
  const auto append = [&](size_t length) {
    writer.append({std::vector<int32_t>(length, 1), std::vector<uint8_t>(length, 1)});
  };
  for (int i = 0; i < 4; ++i) append(10);
  for (int i = 0; i < 4; ++i) append(6);
  const DatasetTotals ten{.num_rows = 4, .num_tokens = 40, .num_trained_tokens = 40};
  const DatasetTotals six{.num_rows = 4, .num_tokens = 24, .num_trained_tokens = 24};
  writer.finish(std::vector<DatasetTotals>{ten, six});
  const TokenCache cache = TokenCache::open(folder.path() / "c");
  const Loader loader(cache, {.packing = true, .max_length = 10, .weights = {1.0, 3.0}});
  const auto tokens = static_cast<double>(10 * loader.num_draws(0) + 6 * loader.num_draws(1));
  const auto room = static_cast<double>(10 * loader.num_positions(0));
  EXPECT_NE(loader.num_draws(0), loader.num_draws(1));
  EXPECT_DOUBLE_EQ(packing_fill(cache, loader, 10), tokens / room);
}

}  // namespace
}  // namespace hone::data
