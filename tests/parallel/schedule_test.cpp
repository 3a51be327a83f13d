#include "parallel/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"

namespace hone::parallel {
namespace {

// Embedding, three blocks, head; every number a different power so sums tell what was counted.
std::vector<StageDescriptor> full_model() {
  return {{"embed", 100, 400, 10, 1},
          {"layers.0", 50, 200, 10, 1000},
          {"layers.1", 50, 200, 10, 1000},
          {"layers.2", 50, 200, 10, 1000},
          {"head", 5, 20, 0, 500}};
}

std::vector<StageDescriptor> adapter_model() {
  auto stages = full_model();
  stages.front().num_trainable = 0;
  stages.back().num_trainable = 0;
  return stages;
}

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
  auto stages = full_model();
  for (size_t i = 0; i + 1 < stages.size(); ++i) stages[i].num_trainable = 0;
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

TEST(Schedule, EveryRemovedActionIsNoticed) {
  const auto stages = full_model();
  const auto actions = make_step(stages, {}, 0, {.num_micro_batches = 2, .recompute = true});
  for (size_t i = 0; i < actions.size(); ++i) {
    auto broken = actions;
    broken.erase(broken.begin() + static_cast<ptrdiff_t>(i));
    EXPECT_FALSE(step_problems(broken, stages).empty()) << describe_action(actions[i], stages);
  }
}

TEST(Schedule, EverySwapOfNeighboursThatMattersIsNoticed) {
  const auto stages = full_model();
  const auto actions = make_step(stages, {}, 0, {.recompute = true});
  for (size_t i = 0; i + 1 < actions.size(); ++i) {
    // Reductions of two stages may come in any order, and a recompute needs no gradient yet.
    const bool both_reduce =
        actions[i].kind == ActionKind::kReduce && actions[i + 1].kind == ActionKind::kReduce;
    if (both_reduce || actions[i + 1].kind == ActionKind::kRecompute) continue;
    auto broken = actions;
    std::swap(broken[i], broken[i + 1]);
    EXPECT_FALSE(step_problems(broken, stages).empty()) << describe_action(actions[i], stages);
  }
}

TEST(Schedule, WhatCannotBeScheduledIsRefused) {
  EXPECT_THROW(make_step(full_model(), {.tp = 2}, 0, {}), core::Error);
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
