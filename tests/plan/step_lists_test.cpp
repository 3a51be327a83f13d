#include "recipes/plan/step_lists.h"

#include <gtest/gtest.h>

#include "parallel/step_ranks.h"
#include "tests/plan/inputs.h"

namespace hone::recipes {
namespace {

struct ListsCase {
  parallel::Layout layout;
  int64_t accumulation = 4, chunks = 1;
};

class EveryRank : public testing::TestWithParam<ListsCase> {};

// What is proved for a few ranks is true of all: their lists are made and run here, every one.
TEST_P(EveryRank, HasTheListThatTheProofIsAboutAndAllOfThemGetToTheEnd) {
  PlanInput input = input_of(small_spec(), GetParam().layout, GetParam().accumulation);
  input.chunks_per_rank = GetParam().chunks;
  input.pipeline = plan_pipeline(input);
  const ShardTable table = make_shard_table(input);
  const StepLists lists = make_step_lists(input, table.stages);
  EXPECT_EQ(lists.problems, std::vector<std::string>{});
  EXPECT_EQ(lists.num_proved, input.layout.num_ranks());

  std::vector<std::vector<parallel::Action>> ranks;
  for (int64_t rank = 0; rank < input.layout.num_ranks(); ++rank) {
    ranks.push_back(parallel::make_step(table.stages, input.layout, rank, step_options(input)));
    const auto position = parallel::rank_position(input.layout, rank);
    const int64_t data_rank = parallel::data_parallel_rank(input.layout, rank);
    std::vector<parallel::Action> expected = lists.by_place[static_cast<size_t>(position.pipeline)];
    ASSERT_EQ(ranks.back().size(), expected.size()) << rank;
    for (size_t i = 0; i < expected.size(); ++i) {
      parallel::Action own = ranks.back()[i];
      const bool is_own = own.peer >= 0 || own.kind == parallel::ActionKind::kForward ||
                          own.kind == parallel::ActionKind::kLoss ||
                          own.kind == parallel::ActionKind::kRecompute ||
                          own.kind == parallel::ActionKind::kBackward;
      if (is_own) own.micro_batch -= data_rank;
      ASSERT_EQ(own, expected[i]) << "rank " << rank << ", action " << i;
    }
  }
  EXPECT_EQ(parallel::rank_problems(ranks, table.stages, input.layout, input.pipeline),
            std::vector<std::string>{});
}

INSTANTIATE_TEST_SUITE_P(
    StepLists, EveryRank,
    testing::Values(ListsCase{{}}, ListsCase{{.dp_replicate = 3}}, ListsCase{{.dp_shard = 4}},
                    ListsCase{{.tp = 4}}, ListsCase{{.cp = 2, .tp = 2}}, ListsCase{{.pp = 4}},
                    ListsCase{{.pp = 2}, 8, 2}, ListsCase{{.dp_shard = 2, .pp = 2}},
                    ListsCase{
                        {.dp_replicate = 2, .dp_shard = 2, .cp = 2, .tp = 2, .pp = 2}, 6, 2}));

TEST(StepLists, AListThatDiffersIsFound) {
  // The head of one rank says that it shares the embedding: it gathers another stage then.
  const PlanInput input = input_of(small_spec(), {.dp_shard = 2});
  std::vector<parallel::StageDescriptor> stages = make_shard_table(input).stages;
  std::vector<std::vector<parallel::Action>> ranks;
  for (int64_t rank = 0; rank < 2; ++rank) {
    ranks.push_back(parallel::make_step(stages, input.layout, rank, step_options(input)));
    stages.back().shares_with = 0;
  }
  EXPECT_FALSE(parallel::rank_problems(ranks, stages, input.layout, input.pipeline).empty());
}

TEST(StepLists, CountsWhatRanksExchange) {
  PlanInput input = input_of(small_spec(), {.pp = 2});
  const StepLists sound = make_step_lists(input, make_shard_table(input).stages);
  EXPECT_GT(sound.num_messages, 0);
  EXPECT_GT(sound.num_collectives, 0);
}

}  // namespace
}  // namespace hone::recipes
