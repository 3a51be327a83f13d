#include "recipes/eval_split.h"

#include <gtest/gtest.h>

#include <set>

#include "core/error.h"
#include "data/token_cache.h"
#include "tests/support/process.h"

namespace hone::recipes {
namespace {

// Row i holds i + 1 tokens of value i, all trained.
data::TokenCache make_cache(const std::filesystem::path& root, int64_t num_rows) {
  data::TokenCacheWriter writer(root / "whole", "key");
  data::DatasetTotals totals;
  for (int32_t i = 0; i < num_rows; ++i) {
    const auto size = static_cast<size_t>(i) + 1;
    writer.append({std::vector<int32_t>(size, i), std::vector<uint8_t>(size, 1)});
    ++totals.num_rows;
    totals.num_tokens += i + 1;
    totals.num_trained_tokens += i;
  }
  writer.finish(totals);
  return data::TokenCache::open(root / "whole");
}

std::vector<int32_t> rows_of(const data::TokenCache& cache) {
  std::vector<int32_t> rows;
  for (int64_t i = 0; i < cache.num_rows(); ++i) rows.push_back(cache.row(i).ids[0]);
  return rows;
}

TEST(EvalSplit, PartsAreDisjointOrderedAndComplete) {
  const test::TemporaryFolder folder;
  const auto whole = make_cache(folder.path(), 50);
  const SplitCaches parts = split_cache(whole, 0.1, 42, folder.path());
  EXPECT_EQ(parts.eval.num_rows(), 5);
  EXPECT_EQ(parts.train.num_rows(), 45);
  const auto train = rows_of(parts.train), eval = rows_of(parts.eval);
  EXPECT_TRUE(std::is_sorted(train.begin(), train.end()));
  EXPECT_TRUE(std::is_sorted(eval.begin(), eval.end()));
  std::set<int32_t> all(train.begin(), train.end());
  all.insert(eval.begin(), eval.end());
  EXPECT_EQ(all.size(), 50u);
  EXPECT_EQ(parts.train.totals().num_tokens + parts.eval.totals().num_tokens,
            whole.totals().num_tokens);
  EXPECT_EQ(parts.train.row(3).ids.size(), static_cast<size_t>(train[3]) + 1);
  EXPECT_NE(parts.train.key(), parts.eval.key());
}

TEST(EvalSplit, AmountIsAFractionOrANumberOfRows) {
  const test::TemporaryFolder folder;
  const auto whole = make_cache(folder.path(), 50);
  EXPECT_EQ(split_cache(whole, 7, 42, folder.path()).eval.num_rows(), 7);
  EXPECT_EQ(split_cache(whole, 1, 42, folder.path()).eval.num_rows(), 1);
  EXPECT_EQ(split_cache(whole, 0.001, 42, folder.path()).eval.num_rows(), 1);
}

TEST(EvalSplit, SeedPicksTheRowsAndASecondStartOpensTheSame) {
  const test::TemporaryFolder folder;
  const auto whole = make_cache(folder.path(), 50);
  const auto first = split_cache(whole, 10, 1, folder.path());
  EXPECT_EQ(rows_of(split_cache(whole, 10, 1, folder.path()).eval), rows_of(first.eval));
  EXPECT_EQ(split_cache(whole, 10, 1, folder.path()).eval.key(), first.eval.key());
  EXPECT_NE(rows_of(split_cache(whole, 10, 2, folder.path()).eval), rows_of(first.eval));
}

TEST(EvalSplit, NothingLeftToTrainOnIsARecipeError) {
  const test::TemporaryFolder folder;
  const auto whole = make_cache(folder.path(), 5);
  try {
    split_cache(whole, 5, 42, folder.path());
    FAIL() << "no error";
  } catch (const core::Error& e) {
    EXPECT_EQ(e.exit_code(), 78);
  }
}

}  // namespace
}  // namespace hone::recipes
