#include "data/contamination.h"

#include <numeric>
#include <random>

#include "data/token_cache.h"
#include "tests/data/support.h"

namespace hone::data {
namespace {

// A row whose tokens are all trained but for the first `num_prompt`.
MaskedTokens make_row(std::vector<int32_t> ids, size_t num_prompt = 0) {
  MaskedTokens row{.ids = std::move(ids), .trained = {}};
  row.trained.assign(row.ids.size(), 1);
  std::fill_n(row.trained.begin(), num_prompt, 0);
  return row;
}

class ContaminationTest : public testing::Test {
 protected:
  TokenCache cache(const std::string& name, const std::vector<MaskedTokens>& rows) {
    TokenCacheWriter writer(folder_.path() / name, name);
    DatasetTotals totals;
    for (const MaskedTokens& row : rows) {
      writer.append(row);
      ++totals.num_rows;
      totals.num_tokens += static_cast<int64_t>(row.ids.size());
    }
    writer.finish(totals);
    return TokenCache::open(folder_.path() / name);
  }
  std::vector<int32_t> fresh(size_t count) {
    std::vector<int32_t> ids(count);
    for (int32_t& id : ids) id = next_++;
    return ids;
  }
  Contamination find(const std::vector<MaskedTokens>& train,
                     const std::vector<MaskedTokens>& eval) {
    return find_contamination(cache("train", train), cache("eval", eval));
  }
  static std::vector<int32_t> join(std::vector<int32_t> a, const std::vector<int32_t>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }

  TempFolder folder_;
  int32_t next_ = 0;
};

using Rows = std::vector<int64_t>;

TEST_F(ContaminationTest, IdenticalRowsAreFoundHoweverShort) {
  const auto shared = fresh(4), other = fresh(40);
  const Contamination found =
      find({make_row(other), make_row(shared)}, {make_row(fresh(4)), make_row(shared)});
  EXPECT_EQ(found.num_eval_rows, 2);
  EXPECT_EQ(found.num_identical, 1);
  EXPECT_EQ(found.num_overlapping, 0);
  EXPECT_EQ(found.rows, Rows{1});
}

TEST_F(ContaminationTest, CopiedHalfOfTheTrainedTokensIsContamination) {
  const auto passage = fresh(20);
  const auto train = make_row(join(join(fresh(7), passage), fresh(9)), 5);
  const Contamination found =
      find({train}, {make_row(join(passage, fresh(20))), make_row(join(passage, fresh(21))),
                     make_row(join(fresh(3), passage))});
  EXPECT_EQ(found.num_identical, 0);
  EXPECT_EQ(found.rows, (Rows{0, 2}));
}

TEST_F(ContaminationTest, TwelveTokensInCommonAreNoCopy) {
  const auto passage = fresh(12);
  EXPECT_TRUE(
      find({make_row(join(passage, fresh(5)))}, {make_row(join(passage, fresh(1)))}).rows.empty());
}

TEST_F(ContaminationTest, PromptsInCommonAreNoCopy) {
  const auto prompt = fresh(50);
  const Contamination found =
      find({make_row(join(prompt, fresh(14)), 50)}, {make_row(join(prompt, fresh(14)), 50)});
  EXPECT_TRUE(found.rows.empty());
}

TEST_F(ContaminationTest, AnswerStandingInATrainingPromptIsFound) {
  const auto answer = fresh(14);
  const Contamination found =
      find({make_row(join(answer, fresh(30)), 30)}, {make_row(join(fresh(8), answer), 8)});
  EXPECT_EQ(found.rows, Rows{0});
}

TEST_F(ContaminationTest, RunsDoNotReachAcrossAMask) {
  const auto a = fresh(10), b = fresh(10);
  MaskedTokens eval = make_row(join(join(a, {-5 + next_ + 100}), b));
  eval.trained[10] = 0;
  EXPECT_TRUE(find({make_row(join(a, b))}, {eval}).rows.empty());
}

TEST_F(ContaminationTest, RandomRowsGiveTheAnswerOfASimpleSearch) {
  std::mt19937 random(3);
  const auto random_row = [&] {
    std::vector<int32_t> ids(20 + random() % 60);
    for (size_t i = 0; i < ids.size(); i += 10) {  // of a few ten-token phrases
      const auto phrase = static_cast<int32_t>(random() % 6) * 10;
      for (size_t j = i; j < std::min(i + 10, ids.size()); ++j)
        ids[j] = phrase + static_cast<int32_t>(j - i);
    }
    return make_row(ids, random() % 5);
  };
  std::vector<MaskedTokens> train(6), eval(200);
  std::ranges::generate(train, random_row);
  std::ranges::generate(eval, random_row);
  Rows expected;
  for (size_t e = 0; e < eval.size(); ++e) {
    const auto& ids = eval[e].ids;
    std::vector<bool> copied(ids.size());
    bool same = false;
    for (const MaskedTokens& row : train) {
      same = same || row.ids == ids;
      for (size_t i = 0; i + 13 <= ids.size(); ++i) {
        if (!std::all_of(&eval[e].trained[i], &eval[e].trained[i] + 13, [](auto t) { return t; }))
          continue;
        const auto at = std::search(row.ids.begin(), row.ids.end(), &ids[i], &ids[i] + 13);
        if (at != row.ids.end()) std::fill_n(copied.begin() + static_cast<long>(i), 13, true);
      }
    }
    const auto num_copied = std::ranges::count(copied, true);
    const auto num_trained = std::ranges::count(eval[e].trained, 1);
    if (same || (num_copied > 0 && 2 * num_copied >= num_trained))
      expected.push_back(static_cast<int64_t>(e));
  }
  ASSERT_GT(expected.size(), 10u);
  ASSERT_LT(expected.size(), 190u);
  EXPECT_EQ(find(train, eval).rows, expected);
}

}  // namespace
}  // namespace hone::data
