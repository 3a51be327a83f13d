#include "data/epoch_rows.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

namespace hone::data {
namespace {

// How often each row comes in some epochs.
std::map<int64_t, int> draws_of(const EpochRows& rows, int64_t first_epoch, int64_t num_epochs) {
  std::map<int64_t, int> draws;
  for (int64_t epoch = first_epoch; epoch < first_epoch + num_epochs; ++epoch) {
    for (int64_t i = 0; i < rows.size(); ++i) ++draws[rows.row_at(epoch, i)];
  }
  return draws;
}

TEST(EpochRowsTest, WithoutWeightsAnEpochIsEveryRowOnce) {
  const EpochRows rows({30, 70}, {}, true, 5);
  ASSERT_EQ(rows.size(), 100);
  for (const auto& [row, count] : draws_of(rows, 2, 1)) EXPECT_EQ(count, 1) << row;
  EXPECT_EQ(draws_of(rows, 2, 1).size(), 100u);
}

TEST(EpochRowsTest, SharesFollowTheWeightsWhateverTheSizes) {
  const EpochRows rows({10, 90, 900}, {1, 1, 2}, true, 5);
  EXPECT_EQ(rows.size(), 1000);
  EXPECT_EQ(rows.num_draws(0), 250);
  EXPECT_EQ(rows.num_draws(1), 250);
  EXPECT_EQ(rows.num_draws(2), 500);
  std::map<int, int> by_source;
  for (const auto& [row, count] : draws_of(rows, 3, 1)) {
    by_source[row < 10 ? 0 : row < 100 ? 1 : 2] += count;
  }
  EXPECT_EQ(by_source, (std::map<int, int>{{0, 250}, {1, 250}, {2, 500}}));
}

TEST(EpochRowsTest, WeightsOnlyCountInProportion) {
  const EpochRows a({10, 90}, {1, 3}, true, 5), b({10, 90}, {0.2, 0.6}, true, 5);
  for (int64_t i = 0; i < a.size(); ++i) EXPECT_EQ(a.row_at(1, i), b.row_at(1, i));
}

TEST(EpochRowsTest, RoundedSharesAddUpToTheEpoch) {
  const EpochRows rows({5, 5, 4}, {1, 1, 1}, true, 5);
  EXPECT_EQ(rows.num_draws(0) + rows.num_draws(1) + rows.num_draws(2), 14);
  EXPECT_EQ(rows.size(), 14);
}

TEST(EpochRowsTest, SmallSourceIsRepeatedEvenly) {
  const EpochRows rows({7, 93}, {1, 1}, true, 5);  // 50 draws from 7 rows: 7 or 8 each
  const auto draws = draws_of(rows, 0, 1);
  for (int64_t row = 0; row < 7; ++row) {
    EXPECT_GE(draws.at(row), 7);
    EXPECT_LE(draws.at(row), 8);
  }
}

TEST(EpochRowsTest, LargeSourceIsSpreadOverEpochsBeforeAnyRowComesAgain) {
  const EpochRows rows({50, 150}, {3, 1}, true, 5);  // 50 draws an epoch from the 150 rows
  const auto draws = draws_of(rows, 0, 3);
  for (int64_t row = 50; row < 200; ++row) EXPECT_EQ(draws.at(row), 1) << row;
}

TEST(EpochRowsTest, OrderIsShuffledAnewInEveryPassOverASource) {
  const EpochRows rows({100, 100}, {1, 1}, true, 5);
  std::vector<int64_t> first, second;
  for (int64_t i = 0; i < rows.size(); ++i) {
    first.push_back(rows.row_at(0, i));
    second.push_back(rows.row_at(1, i));
  }
  EXPECT_NE(first, second);
  EXPECT_FALSE(std::ranges::is_sorted(first));
  std::ranges::sort(first);
  std::ranges::sort(second);
  EXPECT_EQ(first, second);
}

TEST(EpochRowsTest, SourceWithoutRowsCanHaveNoShare) {
  EXPECT_ANY_THROW(EpochRows({0, 10}, {1, 1}, true, 5));
  EXPECT_NO_THROW(EpochRows({0, 10}, {}, true, 5));
}

}  // namespace
}  // namespace hone::data
