#include "parallel/step_ranks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "tests/parallel/steps.h"

namespace hone::parallel {
namespace {

using Lists = std::vector<std::vector<Action>>;
using Problems = std::vector<std::string>;

const std::vector<int64_t> kCounts{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};

// A block a chunk.
Pipeline pipeline_of(int64_t num_ranks, int64_t chunks_per_rank) {
  const auto num_blocks = static_cast<size_t>(num_ranks * chunks_per_rank);
  return make_pipeline(std::vector<double>(num_blocks + 2, 1.0), num_ranks, chunks_per_rank);
}

std::vector<NamedModel> models_of(const Pipeline& pipeline) {
  const auto num_blocks = static_cast<int>(pipeline.num_stages) - 2;
  auto upper_half = tied(full_model(num_blocks));
  for (size_t stage = 0; stage < upper_half.size() / 2; ++stage)
    upper_half[stage].num_trainable = 0;
  auto head_only = full_model(num_blocks);
  for (size_t stage = 0; stage + 1 < head_only.size(); ++stage) head_only[stage].num_trainable = 0;
  return {{"full", full_model(num_blocks)},    {"tied", tied(full_model(num_blocks))},
          {"lora", adapter_model(num_blocks)}, {"tied lora", tied(adapter_model(num_blocks))},
          {"upper half", upper_half},          {"head only", head_only}};
}

// Layouts of `num_ranks` pipeline ranks with every option that changes the lists.
std::vector<StepCase> pipeline_cases(int64_t num_ranks, int64_t chunks_per_rank,
                                     const std::vector<Layout>& layouts,
                                     const std::vector<int64_t>& micro_batches) {
  std::vector<StepCase> cases;
  const Pipeline pipeline = pipeline_of(num_ranks, chunks_per_rank);
  for (const auto& [model, plain] : models_of(pipeline)) {
    for (Layout layout : layouts) {
      layout.pp = num_ranks;
      const bool is_sharded = layout.dp_shard * layout.cp > 1;
      for (int64_t level = 1; level <= (is_sharded ? 3 : 1); ++level) {
        for (const int64_t count : micro_batches) {
          for (const int bits : {0, 1, 2, 4, 7}) {
            const StepOptions options{.num_micro_batches = count,
                                      .recompute = (bits & 1) != 0,
                                      .shard_level = level,
                                      .strict = (bits & 2) != 0,
                                      .overlap_reduce = (bits & 4) != 0,
                                      .pipeline = pipeline};
            cases.push_back({model + " on " + describe_layout(layout) + ", " +
                                 std::to_string(chunks_per_rank) + " chunks a rank, level " +
                                 std::to_string(level) + ", " + std::to_string(count) +
                                 " micro-batches, options " + std::to_string(bits),
                             is_sharded && level == 3 ? gathered(plain) : plain, layout, options});
          }
        }
      }
    }
  }
  return cases;
}

Problems problems_of(const StepCase& step, const Lists& lists) {
  return rank_problems(lists, step.stages, step.layout, step.options.pipeline);
}

TEST(StepRanks, EveryPipelineGetsToTheEndWhateverItsMicroBatches) {
  for (int64_t num_ranks = 1; num_ranks <= 6; ++num_ranks) {
    for (int64_t chunks = 1; chunks <= 3; ++chunks) {
      const std::vector<Layout> layouts{{}, {.dp_replicate = 2}, {.dp_shard = 2}};
      for (const StepCase& step : pipeline_cases(num_ranks, chunks, layouts, kCounts))
        ASSERT_EQ(problems_of(step, step.all_ranks()), Problems{}) << step.name;
    }
  }
}

Problems problems_over(MessagePaths paths, const StepCase& step) {
  return rank_problems(step.all_ranks(), step.stages, step.layout, step.options.pipeline, paths);
}

// As over NCCL, whose communicators run one operation after the other.
TEST(StepRanks, ACommunicatorForEachLinkGetsEveryPipelineToTheEndInOrder) {
  for (int64_t num_ranks = 2; num_ranks <= 6; ++num_ranks) {
    for (int64_t chunks = 1; chunks <= 3; ++chunks) {
      for (const StepCase& step : pipeline_cases(num_ranks, chunks, {{}, {.dp_shard = 2}}, kCounts))
        ASSERT_EQ(problems_over(MessagePaths::kQueueForLink, step), Problems{}) << step.name;
    }
  }
}

// Why there is one for each link: a rank's send waits behind a receive that was started ahead.
TEST(StepRanks, FewerCommunicatorsInOrderMakeRanksWaitForEachOther) {
  const auto step_of = [](int64_t num_ranks, int64_t chunks) {
    return pipeline_cases(num_ranks, chunks, {{}}, {2 * num_ranks}).front();
  };
  EXPECT_NE(problems_over(MessagePaths::kOneQueue, step_of(2, 1)), Problems{});
  for (int64_t num_ranks = 2; num_ranks <= 6; ++num_ranks) {
    EXPECT_EQ(problems_over(MessagePaths::kQueueForKind, step_of(num_ranks, 1)), Problems{});
    EXPECT_NE(problems_over(MessagePaths::kQueueForKind, step_of(num_ranks, 2)), Problems{});
  }
}

TEST(StepRanks, ContextAndTensorPeersHaveTheSameList) {
  const std::vector<Layout> layouts{{.cp = 2}, {.tp = 2}, {.dp_shard = 2, .cp = 2, .tp = 2}};
  for (const StepCase& step : pipeline_cases(2, 2, layouts, {1, 5})) {
    Lists lists = step.all_ranks();
    ASSERT_EQ(problems_of(step, lists), Problems{}) << step.name;
    const auto forward = std::ranges::find(lists[1], ActionKind::kForward, &Action::kind);
    ASSERT_NE(forward, lists[1].end());
    lists[1].erase(forward);
    EXPECT_NE(problems_of(step, lists), Problems{}) << step.name;
  }
}

TEST(StepRanks, EveryMicroBatchGoesThroughEveryStageOnTheRankThatHasIt) {
  for (const StepCase& step : pipeline_cases(3, 2, {{.dp_shard = 2}}, {1, 2, 7})) {
    const Lists lists = step.all_ranks();
    const int64_t head = step.options.pipeline.num_stages - 1;
    for (size_t rank = 0; rank < lists.size(); ++rank) {
      const auto number = static_cast<int64_t>(rank);
      const int64_t place = rank_position(step.layout, number).pipeline;
      const auto own = micro_batches_of(step.layout, number, step.options.num_micro_batches);
      for (int64_t stage = 0; stage <= head; ++stage) {
        std::vector<int64_t> seen;
        for (const Action& action : lists[rank]) {
          const bool goes_up =
              action.kind == ActionKind::kForward || action.kind == ActionKind::kLoss;
          if (goes_up && action.stage == stage) seen.push_back(action.micro_batch);
        }
        const bool is_here = step.options.pipeline.rank_of(stage) == place;
        EXPECT_EQ(seen, is_here ? own : std::vector<int64_t>{}) << step.name;
      }
    }
  }
}

TEST(StepRanks, OneChunkARankKeepsNoMoreMicroBatchesThanRanksFollow) {
  const Pipeline pipeline = pipeline_of(4, 1);
  const auto stages = full_model(4);
  for (int64_t rank = 0; rank < 4; ++rank) {
    const auto peak = [&](int64_t count) {
      const auto actions =
          make_step(stages, {.pp = 4}, rank, {.num_micro_batches = count, .pipeline = pipeline});
      return peak_activation_bytes(actions, stages, pipeline, rank);
    };
    EXPECT_EQ(peak(13), peak(4 - rank + 1)) << rank;  // one more is on its way already
    if (rank < 3) {
      EXPECT_LT(peak(4 - rank - 1), peak(4 - rank));
    }
  }
}

TEST(StepRanks, RecomputeKeepsOnlyInputsOfMicroBatchesInFlight) {
  const Pipeline pipeline = pipeline_of(4, 1);
  const auto stages = full_model(4);
  const StepOptions options{.num_micro_batches = 8, .recompute = true, .pipeline = pipeline};
  const auto second = make_step(stages, {.pp = 4}, 1, options);
  EXPECT_LT(peak_activation_bytes(second, stages, pipeline, 1), 2 * 1000);
  // The last rank's backward follows its forward.
  for (const Action& action : make_step(stages, {.pp = 4}, 3, options))
    EXPECT_NE(action.kind, ActionKind::kRecompute);
}

TEST(StepRanks, NothingGoesBelowTheFirstTrainableStage) {
  const Pipeline pipeline = pipeline_of(4, 1);
  auto stages = adapter_model(4);
  stages[1].num_trainable = stages[2].num_trainable = 0;  // of ranks 0 and 1
  for (int64_t rank = 0; rank < 4; ++rank) {
    const auto actions =
        make_step(stages, {.pp = 4}, rank, {.num_micro_batches = 5, .pipeline = pipeline});
    const auto count = [&](ActionKind kind) {
      return std::ranges::count(actions, kind, &Action::kind);
    };
    EXPECT_EQ(count(ActionKind::kSendGradient), rank == 3 ? 5 : 0);
    EXPECT_EQ(count(ActionKind::kReceiveGradient), rank == 2 ? 5 : 0);
    EXPECT_EQ(count(ActionKind::kBackward), rank >= 2 ? 5 : 0);
  }
}

TEST(StepRanks, ReceivesAreStartedAnEventAhead) {
  const Pipeline pipeline = pipeline_of(2, 1);
  const auto actions =
      make_step(full_model(2), {.pp = 2}, 1, {.num_micro_batches = 3, .pipeline = pipeline});
  for (int64_t i = 1; i < 3; ++i) {
    const auto receive =
        std::ranges::find(actions, Action{ActionKind::kReceiveInput, 2, i, Keep::kNothing, 0});
    const auto loss_before = std::ranges::find(actions, Action{ActionKind::kLoss, 3, i - 1});
    ASSERT_NE(receive, actions.end());
    EXPECT_LT(receive, loss_before);
  }
}

TEST(StepRanks, ATiedEmbeddingIsReducedWithTheLossAndCompletedLastOnBothEnds) {
  for (const StepCase& step : pipeline_cases(3, 2, {{}, {.dp_shard = 2}}, {1, 4})) {
    if (step.stages.back().shares_with != 0 || step.stages.front().num_trainable == 0) continue;
    const Lists lists = step.all_ranks();
    for (size_t rank = 0; rank < lists.size(); ++rank) {
      const int64_t place = rank_position(step.layout, static_cast<int64_t>(rank)).pipeline;
      const Action completed{ActionKind::kReduce, 0};
      const auto& list = lists[rank];
      EXPECT_EQ(std::ranges::count(list, completed), place == 1 ? 0 : 1) << step.name;
      if (place == 1) continue;
      EXPECT_EQ(list[list.size() - 2], completed) << step.name;
      if (place == 0) continue;
      for (size_t i = 0; i < list.size(); ++i) {
        if (list[i].kind != ActionKind::kReduce || list[i].stage != 0) continue;
        if (list[i].micro_batch >= 0) {
          EXPECT_EQ(list[i - 1].stage, step.options.pipeline.num_stages - 1);
        }
      }
    }
  }
}

TEST(StepRanks, OnlyHeldStagesAreGatheredAndReduced) {
  for (const StepCase& step : pipeline_cases(3, 2, {{.dp_shard = 2}}, {3})) {
    const Lists lists = step.all_ranks();
    for (size_t rank = 0; rank < lists.size(); ++rank) {
      const int64_t place = rank_position(step.layout, static_cast<int64_t>(rank)).pipeline;
      const auto is_held = held_stages(step.stages, step.options.pipeline, place);
      for (const Action& action : lists[rank]) {
        if (action.stage >= 0) {
          EXPECT_TRUE(is_held[static_cast<size_t>(action.stage)]) << step.name;
        }
      }
    }
  }
}

bool is_message(const Action& action) {
  return action.kind == ActionKind::kSendOutput || action.kind == ActionKind::kReceiveInput ||
         action.kind == ActionKind::kSendGradient || action.kind == ActionKind::kReceiveGradient;
}

std::vector<StepCase> cases_to_break() {
  std::vector<StepCase> cases;
  for (const int64_t chunks : {1, 2}) {
    for (const StepCase& step : pipeline_cases(3, chunks, {{}, {.dp_shard = 2}}, {4})) {
      if (step.name.ends_with("options 0")) cases.push_back(step);
    }
  }
  return cases;
}

TEST(StepRanks, AMessageThatIsMissingIsNoticed) {
  for (const StepCase& step : cases_to_break()) {
    const Lists lists = step.all_ranks();
    for (size_t rank = 0; rank < lists.size(); ++rank) {
      for (size_t i = 0; i < lists[rank].size(); ++i) {
        if (!is_message(lists[rank][i])) continue;
        Lists broken = lists;
        broken[rank].erase(broken[rank].begin() + static_cast<ptrdiff_t>(i));
        EXPECT_NE(problems_of(step, broken), Problems{})
            << step.name << ": " << describe_action(lists[rank][i], step.stages);
        const int64_t place = rank_position(step.layout, static_cast<int64_t>(rank)).pipeline;
        EXPECT_NE(step_problems(broken[rank], step.stages, step.options.pipeline, place),
                  Problems{});
      }
    }
  }
}

TEST(StepRanks, MessagesOfAKindInAnotherOrderAreNoticed) {
  for (const StepCase& step : cases_to_break()) {
    const Lists lists = step.all_ranks();
    for (size_t rank = 0; rank < lists.size(); ++rank) {
      for (size_t i = 0; i < lists[rank].size(); ++i) {
        const Action& first = lists[rank][i];
        if (!is_message(first)) continue;
        for (size_t j = i + 1; j < lists[rank].size(); ++j) {
          const Action& second = lists[rank][j];
          if (second.kind != first.kind || second.peer != first.peer) continue;
          Lists broken = lists;
          std::swap(broken[rank][i], broken[rank][j]);
          EXPECT_NE(problems_of(step, broken), Problems{})
              << step.name << ": " << describe_action(first, step.stages);
          break;
        }
      }
    }
  }
}

TEST(StepRanks, AMessageToAnotherRankIsNoticed) {
  const Pipeline pipeline = pipeline_of(3, 1);
  StepCase step{"", full_model(3), {.pp = 3}, {.num_micro_batches = 2, .pipeline = pipeline}};
  const Lists lists = step.all_ranks();
  for (size_t rank = 0; rank < lists.size(); ++rank) {
    for (size_t i = 0; i < lists[rank].size(); ++i) {
      if (!is_message(lists[rank][i])) continue;
      Lists broken = lists;
      broken[rank][i].peer = 3 - broken[rank][i].peer - static_cast<int64_t>(rank);
      EXPECT_NE(problems_of(step, broken), Problems{});
      EXPECT_NE(step_problems(broken[rank], step.stages, pipeline, static_cast<int64_t>(rank)),
                Problems{});
    }
  }
}

TEST(StepRanks, RanksThatWaitForEachOtherAreTold) {
  const Pipeline pipeline = pipeline_of(2, 1);
  StepCase step{"", full_model(2), {.pp = 2}, {.num_micro_batches = 2, .pipeline = pipeline}};
  Lists lists = step.all_ranks();
  // Rank 0 wants the gradient of micro-batch 1 before it sends that micro-batch.
  const Action output{ActionKind::kSendOutput, 1, 1, Keep::kNothing, 1};
  const Action backward{ActionKind::kBackward, 1, 1};
  std::erase(lists[0], output);
  lists[0].insert(std::ranges::find(lists[0], backward) + 1, output);
  const Problems problems = problems_of(step, lists);
  ASSERT_EQ(problems.size(), 2U);
  EXPECT_TRUE(problems[0].starts_with("rank 0, action ")) << problems[0];
  EXPECT_TRUE(problems[0].ends_with("backward layers.0 of micro-batch 1: waits forever"))
      << problems[0];
  EXPECT_TRUE(problems[1].ends_with("forward layers.1 of micro-batch 1: waits forever"))
      << problems[1];
}

TEST(StepRanks, AReductionOfATiedEmbeddingByOneEndAloneIsNoticed) {
  const Pipeline pipeline = pipeline_of(2, 1);
  StepCase step{"", tied(full_model(2)), {.pp = 2}, {.num_micro_batches = 2, .pipeline = pipeline}};
  for (const size_t rank : {0, 1}) {
    Lists lists = step.all_ranks();
    std::erase(lists[rank], Action{ActionKind::kReduce, 0});
    EXPECT_NE(problems_of(step, lists), Problems{});
  }
}

TEST(StepRanks, ACollectiveThatOneRankOfThePipelineDoesNotCallIsNamed) {
  const Pipeline pipeline = pipeline_of(2, 1);
  StepCase step{"",
                gathered(full_model(2)),
                {.dp_shard = 2, .pp = 2},
                {.num_micro_batches = 4, .pipeline = pipeline}};
  const Lists lists = step.all_ranks();
  for (size_t i = 0; i < lists[3].size(); ++i) {
    if (lists[3][i].kind != ActionKind::kGather && lists[3][i].kind != ActionKind::kReduce)
      continue;
    Lists broken = lists;
    broken[3].erase(broken[3].begin() + static_cast<ptrdiff_t>(i));
    const Problems problems = problems_of(step, broken);
    ASSERT_FALSE(problems.empty());
    EXPECT_NE(problems.front().find("rank 2 has "), std::string::npos) << problems.front();
    EXPECT_NE(problems.front().find("rank 3 has "), std::string::npos) << problems.front();
  }
}

TEST(StepRanks, BubbleOfEqualRanksIsThatOfTheFormula) {
  for (int64_t num_ranks = 1; num_ranks <= 6; ++num_ranks) {
    const Pipeline pipeline = pipeline_of(num_ranks, 1);
    std::vector<double> costs(static_cast<size_t>(num_ranks) + 2, 1.0);
    costs.front() = costs.back() = 0;
    for (int64_t count = 1; count <= 13; ++count) {
      for (const bool recompute : {false, true}) {
        // The last rank recomputes nothing: it waits for the others besides.
        if (recompute && num_ranks > 1) continue;
        const auto stages = full_model(static_cast<int>(num_ranks));
        EXPECT_NEAR(bubble_share(stages, costs, pipeline, count, recompute),
                    static_cast<double>(num_ranks - 1) / static_cast<double>(count + num_ranks - 1),
                    1e-12);
      }
    }
  }
}

TEST(StepRanks, SeveralChunksARankMakeTheBubbleSmallerByAsMuch) {
  for (int64_t num_ranks = 2; num_ranks <= 4; ++num_ranks) {
    for (int64_t chunks = 2; chunks <= 3; ++chunks) {
      const Pipeline pipeline = pipeline_of(num_ranks, chunks);
      std::vector<double> costs(static_cast<size_t>(pipeline.num_stages), 1.0);
      costs.front() = costs.back() = 0;
      const auto stages = full_model(static_cast<int>(pipeline.num_stages) - 2);
      for (int64_t count = num_ranks; count <= 13; ++count) {
        const auto busy = static_cast<double>(count * chunks);
        const auto idle = static_cast<double>(num_ranks - 1);
        EXPECT_NEAR(bubble_share(stages, costs, pipeline, count, false), idle / (busy + idle),
                    1e-12)
            << num_ranks << " ranks, " << chunks << " chunks, " << count << " micro-batches";
      }
    }
  }
}

TEST(StepRanks, PipelinesThatDoNotFitTheLayoutOrModelAreRefused) {
  const auto stages = full_model(4);
  EXPECT_THROW(make_step(stages, {.pp = 2}, 0, {}), core::Error);
  EXPECT_THROW(make_step(stages, {.pp = 2}, 0, {.pipeline = pipeline_of(4, 1)}), core::Error);
  EXPECT_THROW(make_step(stages, {.pp = 2}, 0, {.pipeline = pipeline_of(2, 1)}), core::Error);
  EXPECT_NO_THROW(make_step(stages, {.pp = 2}, 0, {.pipeline = pipeline_of(2, 2)}));
}

}  // namespace
}  // namespace hone::parallel
