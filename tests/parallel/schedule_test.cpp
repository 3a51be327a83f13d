#include "parallel/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "core/error.h"
#include "parallel/step_ranks.h"
#include "tests/parallel/steps.h"

namespace hone::parallel {
namespace {

std::vector<int64_t> stages_of(const std::vector<Action>& actions, ActionKind kind) {
  std::vector<int64_t> stages;
  for (const Action& action : actions) {
    if (action.kind == kind) stages.push_back(action.stage);
  }
  return stages;
}

using Stages = std::vector<int64_t>;

TEST(Schedule, FullStepRunsForwardLossBackwardReduceUpdate) {
  const auto actions = make_step(full_model(), {}, 0, {});
  EXPECT_EQ(stages_of(actions, ActionKind::kForward), (Stages{0, 1, 2, 3}));
  EXPECT_EQ(stages_of(actions, ActionKind::kLoss), (Stages{4}));
  EXPECT_EQ(stages_of(actions, ActionKind::kBackward), (Stages{3, 2, 1, 0}));
  EXPECT_EQ(stages_of(actions, ActionKind::kReduce), (Stages{4, 3, 2, 1, 0}));
  EXPECT_TRUE(stages_of(actions, ActionKind::kRecompute).empty());
  EXPECT_EQ(actions.back().kind, ActionKind::kUpdate);
  EXPECT_TRUE(step_problems(actions, full_model()).empty());
}

TEST(Schedule, FrozenEmbeddingGetsNoBackwardNoReduceAndKeepsNothing) {
  const auto actions = make_step(adapter_model(), {}, 0, {});
  EXPECT_EQ(stages_of(actions, ActionKind::kBackward), (Stages{3, 2, 1}));
  EXPECT_EQ(stages_of(actions, ActionKind::kReduce), (Stages{3, 2, 1}));
  EXPECT_EQ(actions.front().keep, Keep::kNothing);
  EXPECT_TRUE(step_problems(actions, adapter_model()).empty());
}

TEST(Schedule, OnlyTheHeadTrainableMeansNoBackwardAtAll) {
  const auto stages = head_only_model();
  const auto actions = make_step(stages, {}, 0, {.num_micro_batches = 2});
  EXPECT_TRUE(stages_of(actions, ActionKind::kBackward).empty());
  EXPECT_TRUE(step_problems(actions, stages).empty());
}

TEST(Schedule, RecomputeRunsBlocksAgainButNotTheEmbeddingNorTheLastBlock) {
  const auto actions = make_step(full_model(), {}, 0, {.recompute = true});
  EXPECT_EQ(stages_of(actions, ActionKind::kRecompute), (Stages{2, 1}));
  EXPECT_TRUE(step_problems(actions, full_model()).empty());
}

TEST(Schedule, MicroBatchesFollowEachOtherAndReduceComesOnceAfterThem) {
  const auto actions = make_step(full_model(), {}, 0, {.num_micro_batches = 3, .recompute = true});
  int64_t last = 0;
  for (const Action& action : actions) {
    if (action.micro_batch < 0) continue;
    EXPECT_GE(action.micro_batch, last);
    last = action.micro_batch;
  }
  EXPECT_EQ(last, 2);
  EXPECT_EQ(stages_of(actions, ActionKind::kReduce).size(), 5u);
  EXPECT_TRUE(step_problems(actions, full_model()).empty());
}

TEST(Schedule, RecomputeLowersPeakToOneGraphAndTheInputs) {
  const auto stages = full_model();
  const int64_t kept = peak_activation_bytes(make_step(stages, {}, 0, {}), stages);
  const int64_t recomputed =
      peak_activation_bytes(make_step(stages, {}, 0, {.recompute = true}), stages);
  EXPECT_EQ(kept, 3 * 1000 + 1 + 3 * 10 + 500 + 2 * 10);
  EXPECT_EQ(recomputed, 1000 + 1 + 3 * 10 + 500 + 2 * 10);
}

TEST(Schedule, PeakDoesNotGrowWithMicroBatches) {
  const auto stages = full_model();
  EXPECT_EQ(peak_activation_bytes(make_step(stages, {}, 0, {.num_micro_batches = 1}), stages),
            peak_activation_bytes(make_step(stages, {}, 0, {.num_micro_batches = 8}), stages));
}

using MicroBatches = std::vector<int64_t>;

TEST(Schedule, MicroBatchesAreDealtOutInRounds) {
  const Layout replicas{.dp_replicate = 3};
  EXPECT_EQ(micro_batches_of(replicas, 0, 7), (MicroBatches{0, 3, 6}));
  EXPECT_EQ(micro_batches_of(replicas, 1, 7), (MicroBatches{1, 4}));
  EXPECT_EQ(micro_batches_of(replicas, 2, 7), (MicroBatches{2, 5}));
  const Layout hybrid{.dp_replicate = 2, .dp_shard = 2};
  EXPECT_EQ(micro_batches_of(hybrid, 1, 3), (MicroBatches{1}));
  EXPECT_EQ(micro_batches_of(hybrid, 2, 3), (MicroBatches{2}));
  EXPECT_EQ(micro_batches_of(hybrid, 3, 3), (MicroBatches{}));
  EXPECT_EQ(micro_batches_of({}, 0, 3), (MicroBatches{0, 1, 2}));
}

TEST(Schedule, RanksOfOneReplicaShareItsMicroBatchesOverOtherAxes) {
  const Layout layout{.dp_replicate = 2, .dp_shard = 2, .tp = 2};
  EXPECT_EQ(data_parallel_rank(layout, 4), 2);
  EXPECT_EQ(data_parallel_rank(layout, 5), 2);
  EXPECT_EQ(data_parallel_rank(layout, 7), 3);
  EXPECT_EQ(micro_batches_of(layout, 5, 8), (MicroBatches{2, 6}));
}

TEST(Schedule, TheLastRoundMayBeSmaller) {
  EXPECT_EQ(num_rounds(1, 1), 1);
  EXPECT_EQ(num_rounds(8, 1), 8);
  EXPECT_EQ(num_rounds(8, 4), 2);
  EXPECT_EQ(num_rounds(9, 4), 3);
  EXPECT_EQ(num_rounds(3, 4), 1);
  EXPECT_EQ(num_rounds(0, 4), 0);
}

TEST(Schedule, GradientsAreSummedEveryRoundWhereTheyAreShardedOrStrict) {
  const Layout replicas{.dp_replicate = 2}, shards{.dp_shard = 2};
  EXPECT_FALSE(reduces_every_round({}, {}));
  EXPECT_TRUE(reduces_every_round({}, {.strict = true}));
  EXPECT_FALSE(reduces_every_round(replicas, {.shard_level = 3}));
  EXPECT_TRUE(reduces_every_round(replicas, {.strict = true}));
  EXPECT_FALSE(reduces_every_round(shards, {.shard_level = 1}));
  EXPECT_TRUE(reduces_every_round(shards, {.shard_level = 1, .strict = true}));
  EXPECT_TRUE(reduces_every_round(shards, {.shard_level = 2}));
  EXPECT_TRUE(reduces_every_round(shards, {.shard_level = 3}));
}

TEST(Schedule, EveryStepIsSoundOnEveryRankAndItsCollectivesAreEqual) {
  for (const StepCase& step : step_cases(all_layouts(), {1, 2, 3, 5, 8})) {
    const auto ranks = step.all_ranks();
    EXPECT_EQ(collective_problems(ranks, step.stages), std::vector<std::string>{}) << step.name;
    for (const auto& actions : ranks)
      EXPECT_EQ(step_problems(actions, step.stages), std::vector<std::string>{}) << step.name;
  }
}

// How often each micro-batch goes through each stage by an action of this kind, over all ranks.
std::map<std::pair<int64_t, int64_t>, int> counts_of(const std::vector<std::vector<Action>>& ranks,
                                                     ActionKind kind) {
  std::map<std::pair<int64_t, int64_t>, int> counts;
  for (const auto& actions : ranks) {
    for (const Action& action : actions) {
      if (action.kind == kind) ++counts[{action.micro_batch, action.stage}];
    }
  }
  return counts;
}

TEST(Schedule, EveryMicroBatchIsComputedByOneRankOnce) {
  for (const StepCase& step : step_cases(all_layouts(), {1, 2, 3, 5, 8})) {
    const auto ranks = step.all_ranks();
    const auto head = static_cast<int64_t>(step.stages.size()) - 1;
    std::map<std::pair<int64_t, int64_t>, int> forwards, losses, backwards;
    for (int64_t i = 0; i < step.options.num_micro_batches; ++i) {
      losses[{i, head}] = 1;
      for (int64_t stage = 0; stage < head; ++stage) forwards[{i, stage}] = 1;
      for (int64_t stage = first_trainable_stage(step.stages); stage < head; ++stage)
        backwards[{i, stage}] = 1;
    }
    EXPECT_EQ(counts_of(ranks, ActionKind::kForward), forwards) << step.name;
    EXPECT_EQ(counts_of(ranks, ActionKind::kLoss), losses) << step.name;
    EXPECT_EQ(counts_of(ranks, ActionKind::kBackward), backwards) << step.name;
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      std::vector<int64_t> own;
      for (const Action& action : ranks[rank]) {
        if (action.kind == ActionKind::kLoss) own.push_back(action.micro_batch);
      }
      EXPECT_EQ(own, micro_batches_of(step.layout, static_cast<int64_t>(rank),
                                      step.options.num_micro_batches))
          << step.name;
    }
  }
}

TEST(Schedule, EveryTrainableStageIsReducedOnceARoundIfAtAllAndCompletedOnce) {
  for (const StepCase& step : step_cases(all_layouts(), {1, 3, 5})) {
    for (const auto& actions : step.all_ranks()) {
      for (size_t stage = 0; stage < step.stages.size(); ++stage) {
        std::vector<int64_t> reduced, expected;
        for (const Action& action : actions) {
          if (action.kind == ActionKind::kReduce && action.stage == static_cast<int64_t>(stage))
            reduced.push_back(action.micro_batch);
        }
        if (step.stages[stage].num_trainable > 0) {
          const int64_t width = step.layout.data_parallel_size();
          for (int64_t begin = 0; begin < step.options.num_micro_batches; begin += width) {
            if (reduces_every_round(step.layout, step.options)) expected.push_back(begin);
          }
          expected.push_back(-1);
        }
        EXPECT_EQ(reduced, expected) << step.name << ", stage " << stage;
      }
    }
  }
}

size_t place_of(const std::vector<Action>& actions, const Action& action) {
  return static_cast<size_t>(std::ranges::find(actions, action) - actions.begin());
}

TEST(Schedule, OverlappedReductionsComeRightAfterTheLastBackwardOfTheirStage) {
  for (const StepCase& step : step_cases({{.dp_replicate = 2}, {.dp_shard = 2}}, {1, 2, 5})) {
    const auto actions = step.all_ranks().front();
    const auto head = static_cast<int64_t>(step.stages.size()) - 1;
    const int64_t last = micro_batches_of(step.layout, 0, step.options.num_micro_batches).back();
    for (int64_t stage = first_trainable_stage(step.stages); stage < head; ++stage) {
      if (step.stages[static_cast<size_t>(stage)].num_trainable == 0) continue;
      const size_t complete = place_of(actions, {ActionKind::kReduce, stage});
      ASSERT_LT(complete, actions.size()) << step.name;
      const size_t lowest =
          place_of(actions, {ActionKind::kBackward, first_trainable_stage(step.stages), last});
      if (!step.options.overlap_reduce) {
        EXPECT_GT(complete, lowest) << step.name;
        continue;
      }
      EXPECT_GT(complete, place_of(actions, {ActionKind::kBackward, stage, last})) << step.name;
      EXPECT_LT(complete, place_of(actions, {ActionKind::kBackward, stage - 1, last})) << step.name;
    }
  }
}

TEST(Schedule, WithoutGatheredStagesNothingIsGatheredNorFreed) {
  for (const StepCase& step : step_cases(all_layouts(), {3})) {
    if (step.stages.front().is_gathered) continue;
    for (const auto& actions : step.all_ranks()) {
      EXPECT_TRUE(stages_of(actions, ActionKind::kGather).empty()) << step.name;
      EXPECT_TRUE(stages_of(actions, ActionKind::kFree).empty()) << step.name;
    }
  }
}

size_t most_gathered_at_once(const std::vector<Action>& actions) {
  std::set<int64_t> gathered;
  size_t most = 0;
  for (const Action& action : actions) {
    if (action.kind == ActionKind::kGather) gathered.insert(action.stage);
    if (action.kind == ActionKind::kFree) gathered.erase(action.stage);
    most = std::max(most, gathered.size());
  }
  return most;
}

// What is computed with and what comes next; beside the head a tied embedding.
TEST(Schedule, TwoStagesAreGatheredAtOnceAndThreeBesideATiedHeadWhateverTheDepth) {
  for (const int num_blocks : {1, 2, 3, 12, 80}) {
    for (const bool is_lora : {false, true}) {
      for (const int bits : {0, 1, 2, 3}) {
        const StepOptions options{.num_micro_batches = 5,
                                  .recompute = (bits & 1) != 0,
                                  .overlap_reduce = (bits & 2) != 0};
        const auto plain = gathered(is_lora ? adapter_model(num_blocks) : full_model(num_blocks));
        for (const Layout& layout : {Layout{.dp_shard = 2}, {.dp_replicate = 2, .dp_shard = 3}}) {
          for (int64_t rank = 0; rank < layout.num_ranks(); ++rank) {
            EXPECT_EQ(most_gathered_at_once(make_step(plain, layout, rank, options)), 2U);
            EXPECT_EQ(most_gathered_at_once(make_step(tied(plain), layout, rank, options)), 3U);
          }
        }
      }
    }
  }
}

TEST(Schedule, AStageIsOnItsWayWhileTheOneBeforeIsComputed) {
  const auto stages = gathered(full_model(8));
  const auto actions = make_step(stages, {.dp_shard = 2}, 0, {.recompute = true});
  for (int64_t stage = 1; stage < 8; ++stage) {
    EXPECT_LT(place_of(actions, {ActionKind::kGather, stage, 0}),
              place_of(actions, {ActionKind::kForward, stage - 1, 0, Keep::kInput}));
  }
  // Each comes twice, for forward and backward; the head and the block below it stay, and the
  // backward of the embedding does without.
  EXPECT_EQ(stages_of(actions, ActionKind::kGather),
            (Stages{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 7, 6, 5, 4, 3, 2, 1}));
}

TEST(Schedule, ATiedHeadGathersTheEmbeddingForTheLoss) {
  const auto stages = tied(gathered(full_model()));
  const auto actions = make_step(stages, {.dp_shard = 2}, 0, {});
  EXPECT_EQ(stages_of(actions, ActionKind::kGather), (Stages{0, 1, 2, 3, 0, 4, 2, 1}));
}

TEST(Schedule, ARankWithoutMicroBatchesTakesPartInTheCollectivesAlone) {
  const auto stages = gathered(full_model());
  const Layout layout{.dp_shard = 3};
  const auto idle = make_step(stages, layout, 2, {.num_micro_batches = 2});
  const auto busy = make_step(stages, layout, 0, {.num_micro_batches = 2});
  for (const ActionKind kind : {ActionKind::kForward, ActionKind::kLoss, ActionKind::kBackward})
    EXPECT_TRUE(stages_of(idle, kind).empty());
  EXPECT_EQ(stages_of(idle, ActionKind::kGather), stages_of(busy, ActionKind::kGather));
  EXPECT_EQ(stages_of(idle, ActionKind::kFree), stages_of(busy, ActionKind::kFree));
  EXPECT_EQ(stages_of(idle, ActionKind::kReduce), stages_of(busy, ActionKind::kReduce));
}

TEST(Schedule, WhatCannotBeScheduledIsRefused) {
  EXPECT_THROW(make_step(full_model(), {.pp = 2}, 0, {}), core::Error);
  EXPECT_THROW(make_step(full_model(), {}, 1, {}), core::Error);
  EXPECT_THROW(make_step(full_model(), {}, 0, {.num_micro_batches = 0}), core::Error);
  EXPECT_THROW(make_step({{"head", 1}}, {}, 0, {}), core::Error);
  EXPECT_THROW(make_step({{"embed"}, {"head"}}, {}, 0, {}), core::Error);
}

TEST(Schedule, DescriptionNamesStageAndMicroBatch) {
  EXPECT_EQ(describe_action({ActionKind::kBackward, 2, 7}, full_model()),
            "backward layers.1 of micro-batch 7");
  EXPECT_EQ(describe_action({ActionKind::kUpdate}, full_model()), "update");
}

}  // namespace
}  // namespace hone::parallel
