// Steps on several processes under a real mpirun against the same steps on one. Every run is
// bounded in time: a hang is a failure.
#include <gtest/gtest.h>

#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/cpu.h"
#include "tests/support/mpirun.h"
#include "tests/support/paths.h"
#include "tests/trainer/ranks_case.h"

namespace hone::trainer {
namespace {

std::vector<RanksOutcome> mpirun(int64_t ranks, const std::vector<std::string>& cases,
                                 test::Environment environment = {}) {
  std::vector<std::string> command = test::mpirun_words(300);
  command.insert(command.end(), {"-np", std::to_string(ranks),
                                 std::string(test::kBinaryDir) + "/bin/ranks_program"});
  command.insert(command.end(), cases.begin(), cases.end());
  environment.merge(test::mpirun_environment());
  const test::ProcessResult result = test::run_process(command, environment);
  EXPECT_EQ(result.code, 0) << result.err;
  std::vector<RanksOutcome> outcomes;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) outcomes.push_back(outcome_from(line));
  EXPECT_EQ(outcomes.size(), cases.size()) << result.out.substr(0, 500);
  return outcomes;
}

void expect_like_one_rank(int64_t ranks, const std::vector<RanksCase>& cases) {
  std::vector<std::string> names;
  for (const RanksCase& wanted : cases) names.push_back(wanted.name());
  const auto one = mpirun(1, names), many = mpirun(ranks, names);
  ASSERT_EQ(one.size(), many.size());
  for (size_t i = 0; i < one.size(); ++i) {
    if (cases[i].strict) {
      EXPECT_EQ(many[i].losses, one[i].losses) << names[i];
      EXPECT_TRUE(many[i].weights == one[i].weights) << names[i];
    } else {
      EXPECT_LT(largest_difference(many[i].gradients, one[i].gradients), kGradientBound)
          << names[i];
      EXPECT_LT(largest_difference(many[i].updates, one[i].updates), cases[i].update_bound())
          << names[i];
    }
  }
}

std::vector<RanksCase> cases_of(int64_t ranks, std::optional<bool> split = std::nullopt) {
  std::vector<RanksCase> cases;
  for (const RanksCase& wanted : all_ranks_cases()) {
    const parallel::Layout& layout = wanted.layout;
    const bool is_split = layout.num_ranks() > layout.data_parallel_size();
    if (layout.num_ranks() == ranks && is_split == split.value_or(is_split))
      cases.push_back(wanted);
  }
  return cases;
}

TEST(RanksMpi, TwoProcessesGiveTheStepsOfOne) { expect_like_one_rank(2, cases_of(2)); }

TEST(RanksMpi, FourProcessesOfWholeLayersGiveTheStepsOfOne) {
  expect_like_one_rank(4, cases_of(4, false));
}

TEST(RanksMpi, FourProcessesOfSplitLayersGiveTheStepsOfOne) {
  expect_like_one_rank(4, cases_of(4, true));
}

// What the bound on ranks is measured by: the same step on one rank with another float32 attention
// (and other small kernels), whose sums are formed in another order.
TEST(RanksMpi, BoundIsThatOfTwoAttentionKernels) {
  const std::vector<std::string> names{"replicate2_shard1_full_rounds3_recompute"};
  const auto best = mpirun(1, names), portable = mpirun(1, names, {{"HONE_ISA", "portable"}});
  ASSERT_EQ(best.size(), 1u);
  ASSERT_EQ(portable.size(), 1u);
  const double spread = largest_difference(portable[0].updates, best[0].updates);
  RecordProperty("spread", std::to_string(spread));
  EXPECT_LT(spread, kUpdateBound);
  if (kernels::available_isas().size() > 1) {
    EXPECT_GT(spread, kUpdateBound / 30);
  }
}

}  // namespace
}  // namespace hone::trainer
