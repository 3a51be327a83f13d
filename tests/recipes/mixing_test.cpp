// The keys that mix datasets and guard the evaluation data, and what the policy does.
#include "data/token_cache.h"
#include "recipes/contamination_check.h"
#include "tests/recipes/support.h"

namespace hone::recipes {
namespace {

using Mixing = RecipeTest;

std::string with_datasets(const std::string& datasets) {
  return "recipe: sft\nmodel_name_or_path: owner/model\noutput_dir: runs/x\ndatasets:\n" + datasets;
}

TEST_F(Mixing, WeightsAndPoliciesArrive) {
  const Recipe r = read(with_datasets("  - {path: data/train.jsonl, weight: 3}\n"
                                      "  - {path: data/test.jsonl, weight: 0.5}\n") +
                        "deduplicate: true\neval_contamination: drop\n");
  EXPECT_EQ(r.loader.weights, (std::vector<double>{3, 0.5}));
  EXPECT_TRUE(r.dataset_options.deduplicate);
  EXPECT_EQ(r.eval_contamination, ContaminationPolicy::kDrop);
  EXPECT_TRUE(read(kSound).loader.weights.empty());
  EXPECT_EQ(read(kSound).eval_contamination, ContaminationPolicy::kWarn);
  EXPECT_TRUE(read(kSound + "dataset_exact_deduplication: true\n").dataset_options.deduplicate);
}

TEST_F(Mixing, WeightsAreForEveryDatasetAndPositive) {
  const auto one =
      problems(with_datasets("  - {path: data/train.jsonl, weight: 3}\n"
                             "  - {path: data/test.jsonl}\n"));
  ASSERT_EQ(one.size(), 1u);
  EXPECT_NE(one[0].find("r.yaml:6: datasets[1]: has no weight"), std::string::npos) << one[0];
  const auto zero = problems(with_datasets("  - {path: data/train.jsonl, weight: 0}\n"));
  ASSERT_EQ(zero.size(), 1u);
  EXPECT_NE(zero[0].find("weight: got '0'"), std::string::npos) << zero[0];
}

TEST_F(Mixing, EvaluationDataHasNoWeight) {
  EXPECT_NE(problem("eval_datasets: [{path: data/test.jsonl, weight: 2}]\n").find("weight"),
            std::string::npos);
}

// Row i holds 20 tokens of its own from `first` on, all trained.
data::TokenCache make_cache(const std::filesystem::path& root, const std::string& name,
                            int32_t first, int64_t num_rows) {
  data::TokenCacheWriter writer(root / name, name);
  data::DatasetTotals totals;
  for (int64_t row = 0; row < num_rows; ++row) {
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 20; ++i) ids.push_back((first + static_cast<int32_t>(row)) * 20 + i);
    writer.append({ids, std::vector<uint8_t>(20, 1)});
    ++totals.num_rows;
    totals.num_tokens += 20;
    totals.num_trained_tokens += 19;
  }
  writer.finish(totals);
  return data::TokenCache::open(root / name);
}

class PolicyTest : public testing::Test {
 protected:
  PolicyTest()
      : train_(make_cache(folder_.path(), "train", 0, 10)),
        eval_(make_cache(folder_.path(), "eval", 8, 5)),
        found_(check_contamination(train_, eval_, folder_.path())) {}
  data::TokenCache apply(ContaminationPolicy policy) {
    return apply_contamination_policy(policy, found_, eval_, folder_.path());
  }
  test::TemporaryFolder folder_;
  data::TokenCache train_, eval_;
  data::Contamination found_;
};

TEST_F(PolicyTest, ResultIsRememberedAsItIs) {
  EXPECT_EQ(found_.num_identical, 2);
  const data::Contamination again = check_contamination(train_, eval_, folder_.path());
  EXPECT_EQ(again.rows, found_.rows);
  EXPECT_EQ(again.num_identical, 2);
  EXPECT_EQ(again.num_eval_rows, 5);
  EXPECT_NE(contamination_text(found_).find("2 of 5 evaluation rows"), std::string::npos);
}

TEST_F(PolicyTest, WarnAndOffKeepTheRows) {
  EXPECT_EQ(apply(ContaminationPolicy::kWarn).num_rows(), 5);
  EXPECT_EQ(apply(ContaminationPolicy::kOff).num_rows(), 5);
}

TEST_F(PolicyTest, DropLeavesOnlyRowsThatAreNotTrainedOn) {
  const data::TokenCache clean = apply(ContaminationPolicy::kDrop);
  ASSERT_EQ(clean.num_rows(), 3);
  EXPECT_EQ(clean.row(0).ids[0], 200);
  EXPECT_TRUE(check_contamination(train_, clean, folder_.path()).rows.empty());
  EXPECT_NE(clean.key(), eval_.key());
}

TEST_F(PolicyTest, ErrorNamesTheFirstRow) {
  try {
    apply(ContaminationPolicy::kError);
    FAIL() << "not refused";
  } catch (const core::Error& e) {
    EXPECT_EQ(e.kind(), core::ErrorKind::kBadInput);
    EXPECT_NE(std::string(e.what()).find("evaluation row 0"), std::string::npos) << e.what();
  }
}

TEST_F(PolicyTest, NothingLeftToEvaluateOnIsAnError) {
  const data::TokenCache copies = make_cache(folder_.path(), "copies", 3, 2);
  const auto found = check_contamination(train_, copies, folder_.path());
  EXPECT_THROW(
      apply_contamination_policy(ContaminationPolicy::kDrop, found, copies, folder_.path()),
      core::Error);
}

}  // namespace
}  // namespace hone::recipes
