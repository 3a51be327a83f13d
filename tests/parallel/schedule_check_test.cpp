#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "parallel/schedule.h"
#include "parallel/step_ranks.h"
#include "tests/parallel/steps.h"

namespace hone::parallel {
namespace {

using Lists = std::vector<std::vector<Action>>;
using Problems = std::vector<std::string>;

// One rank, replicas, shards and both; a round all have, and one that leaves ranks idle.
std::vector<StepCase> cases() {
  return step_cases({{}, {.dp_replicate = 3}, {.dp_shard = 2}, {.dp_replicate = 2, .dp_shard = 2}},
                    {1, 5});
}

// By the checks that a run of these lists would go through, `rank` having another one.
bool is_noticed(const StepCase& step, Lists lists, size_t rank, std::vector<Action> broken) {
  if (!step_problems(broken, step.stages).empty()) return true;
  lists[rank] = std::move(broken);
  return !collective_problems(lists, step.stages).empty();
}

bool is_gather_or_free(const Action& action) {
  return action.kind == ActionKind::kGather || action.kind == ActionKind::kFree;
}

bool computes(const Action& action) { return !is_collective(action) && !is_gather_or_free(action); }

// Where one stage trains, for one round, a list without that round's reduction is the list of a
// step that is reduced once only.
bool may_be_another_step(const StepCase& step, const Action& removed) {
  const auto trains = [](const StageDescriptor& stage) { return stage.num_trainable > 0; };
  const int64_t width = step.layout.data_parallel_size();
  return removed.kind == ActionKind::kReduce && removed.micro_batch >= 0 &&
         std::ranges::count_if(step.stages, trains) == 1 &&
         num_rounds(step.options.num_micro_batches, width) == 1;
}

TEST(ScheduleCheck, EveryRemovedActionIsNoticed) {
  for (const StepCase& step : cases()) {
    const Lists lists = step.all_ranks();
    for (size_t rank = 0; rank < lists.size(); ++rank) {
      for (size_t i = 0; i < lists[rank].size(); ++i) {
        const Action& removed = lists[rank][i];
        if (lists.size() == 1 && may_be_another_step(step, removed)) continue;
        auto broken = lists[rank];
        broken.erase(broken.begin() + static_cast<ptrdiff_t>(i));
        EXPECT_TRUE(is_noticed(step, lists, rank, std::move(broken)))
            << step.name << ", rank " << rank << ", action " << i << ": "
            << describe_action(removed, step.stages);
      }
    }
  }
}

TEST(ScheduleCheck, ARankThatComputesInEveryRoundNeedsNoOtherToNoticeARemovedAction) {
  for (const StepCase& step : cases()) {
    const auto actions = step.all_ranks().front();
    for (size_t i = 0; i < actions.size(); ++i) {
      if (may_be_another_step(step, actions[i])) continue;
      auto broken = actions;
      broken.erase(broken.begin() + static_cast<ptrdiff_t>(i));
      EXPECT_FALSE(step_problems(broken, step.stages).empty())
          << step.name << ", action " << i << ": " << describe_action(actions[i], step.stages);
    }
  }
}

TEST(ScheduleCheck, AnActionOfAnotherMicroBatchIsNoticed) {
  for (const StepCase& step : cases()) {
    const auto actions = step.all_ranks().front();
    for (size_t i = 0; i < actions.size(); ++i) {
      if (!computes(actions[i])) continue;
      for (const int64_t distance : {-1, 1}) {
        auto broken = actions;
        broken[i].micro_batch += distance;
        EXPECT_FALSE(step_problems(broken, step.stages).empty())
            << step.name << ", action " << i << ": " << describe_action(actions[i], step.stages);
      }
    }
  }
}

TEST(ScheduleCheck, AMicroBatchComputedTwiceIsTold) {
  const auto stages = full_model();
  const auto actions = make_step(stages, {}, 0, {});
  auto twice = actions;
  const auto first_reduce = std::ranges::find(actions, ActionKind::kReduce, &Action::kind);
  twice.insert(twice.begin(), actions.begin(), first_reduce);
  EXPECT_FALSE(step_problems(twice, stages).empty());
}

// Whether the action computes with parameters that were gathered by `stage`.
bool reads(const Action& action, int64_t stage, const std::vector<StageDescriptor>& stages) {
  const StageDescriptor& own = stages[static_cast<size_t>(action.stage)];
  if (action.kind == ActionKind::kBackward && !own.backward_reads_parameters) return false;
  return action.stage == stage || own.shares_with == stage;
}

// Whether `first` and `second`, neighbours in a step, must come in this order. What may be swapped:
// - a gather or free with anything that does not compute with that stage: memory is held for longer
//   or shorter (but collectives come in one order on all ranks);
// - a recompute with what stands before it: it needs the kept input only;
// - the reduction of a stage with the backward of another one below it, whose gradients are others;
// - on one rank, the reductions of two stages.
bool order_matters(const Action& first, const Action& second, const StepCase& step) {
  if (first.kind == ActionKind::kUpdate || second.kind == ActionKind::kUpdate) return true;
  if (is_collective(first) && is_collective(second))
    return step.layout.num_ranks() > 1 || first.stage == second.stage;
  if (computes(first) && computes(second)) return second.kind != ActionKind::kRecompute;
  if (computes(first)) {
    if (second.kind == ActionKind::kReduce) return first.stage == second.stage;
    return second.kind == ActionKind::kFree && reads(first, second.stage, step.stages);
  }
  if (computes(second)) {
    // A micro-batch begins when what came before it is reduced.
    if (first.kind == ActionKind::kReduce) return second.kind == ActionKind::kForward;
    return first.kind == ActionKind::kGather && reads(second, first.stage, step.stages);
  }
  return is_gather_or_free(first) && is_gather_or_free(second) && first.stage == second.stage;
}

TEST(ScheduleCheck, ASwapOfNeighboursIsNoticedWhereItMattersAndOnlyThere) {
  for (const StepCase& step : cases()) {
    const Lists lists = step.all_ranks();
    for (size_t rank = 0; rank < lists.size(); ++rank) {
      for (size_t i = 0; i + 1 < lists[rank].size(); ++i) {
        auto broken = lists[rank];
        std::swap(broken[i], broken[i + 1]);
        const Action &first = lists[rank][i], &second = lists[rank][i + 1];
        EXPECT_EQ(is_noticed(step, lists, rank, std::move(broken)),
                  order_matters(first, second, step))
            << step.name << ", rank " << rank << ", actions " << i
            << " and after: " << describe_action(first, step.stages) << " | "
            << describe_action(second, step.stages);
      }
    }
  }
}

TEST(ScheduleCheck, TheRankWhoseCollectiveIsMissingOrSwappedIsNamed) {
  for (const StepCase& step : cases()) {
    const Lists lists = step.all_ranks();
    if (lists.size() == 1) continue;
    for (size_t rank = 0; rank < lists.size(); ++rank) {
      const std::string name = "rank " + std::to_string(rank) + " has ";
      // Rank 0 is what the others are compared with.
      const size_t num_lines = rank == 0 ? lists.size() - 1 : 1;
      const auto expect_named = [&](const std::vector<Action>& broken) {
        Lists changed = lists;
        changed[rank] = broken;
        const Problems problems = collective_problems(changed, step.stages);
        EXPECT_EQ(problems.size(), num_lines) << step.name;
        for (const std::string& problem : problems)
          EXPECT_NE(problem.find(name), std::string::npos) << step.name << ": " << problem;
      };
      const auto& own = lists[rank];
      size_t before = own.size();  // the collective before this one
      for (size_t i = 0; i < own.size(); ++i) {
        if (!is_collective(own[i])) continue;
        auto broken = own;
        broken.erase(broken.begin() + static_cast<ptrdiff_t>(i));
        expect_named(broken);
        if (before < own.size()) {
          broken = own;
          std::swap(broken[before], broken[i]);
          expect_named(broken);
        }
        before = i;
      }
    }
  }
}

TEST(ScheduleCheck, ADifferenceIsToldByPlaceRanksAndCalls) {
  const auto stages = full_model();
  StepCase step{"", stages, {.dp_replicate = 3}, {.num_micro_batches = 3}};
  Lists lists = step.all_ranks();
  EXPECT_EQ(collective_problems(lists, stages), Problems{});
  EXPECT_EQ(collective_problems({}, stages), Problems{});
  lists[1].pop_back();
  std::erase(lists[2], Action{ActionKind::kReduce, 3});
  EXPECT_EQ(collective_problems(lists, stages),
            (Problems{"collective 5: rank 0 has update, rank 1 has nothing",
                      "collective 1: rank 0 has reduce layers.2, rank 2 has reduce layers.1"}));
  lists = step.all_ranks();
  lists[1].push_back({ActionKind::kUpdate});
  EXPECT_EQ(collective_problems(lists, stages),
            (Problems{"collective 6: rank 0 has nothing, rank 1 has update"}));
}

TEST(ScheduleCheck, AProblemIsToldWithItsAction) {
  const auto stages = gathered(full_model());
  auto actions = make_step(stages, {.dp_shard = 2}, 0, {});
  actions.erase(actions.begin());
  EXPECT_EQ(step_problems(actions, stages).front(),
            "action 1, forward embed of micro-batch 0: the parameters of embed are not gathered");
}

TEST(ScheduleCheck, ARankThatComputesNothingFreesOnlyWhatItGathered) {
  const auto stages = gathered(full_model());
  auto idle = make_step(stages, {.dp_shard = 2}, 1, {});
  EXPECT_EQ(step_problems(idle, stages), Problems{});
  std::erase(idle, Action{ActionKind::kGather, 0, 0});
  const Problems problems = step_problems(idle, stages);
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_TRUE(problems.front().ends_with("free embed of micro-batch 0: freed but not gathered"))
      << problems.front();
}

TEST(ScheduleCheck, AStageReducedTwiceOrUsedAfterItsGradientIsCompleteIsTold) {
  const auto stages = full_model();
  auto twice = make_step(stages, {}, 0, {});
  twice.insert(twice.end() - 1, {ActionKind::kReduce, 2});
  EXPECT_TRUE(step_problems(twice, stages).front().ends_with("its gradient was complete already"));
  // Between two micro-batches; the head's first action of one is the loss.
  auto early = make_step(stages, {}, 0, {.num_micro_batches = 2});
  std::erase(early, Action{ActionKind::kReduce, 4});
  const Action second_begins{ActionKind::kForward, 0, 1, Keep::kGraph};
  early.insert(std::ranges::find(early, second_begins), {ActionKind::kReduce, 4});
  const Problems problems = step_problems(early, stages);
  ASSERT_FALSE(problems.empty());
  EXPECT_TRUE(
      problems.front().ends_with("loss head of micro-batch 1: its gradient was complete already"))
      << problems.front();
}

TEST(ScheduleCheck, ARoundLeftOutOfTheSumsIsTold) {
  const auto stages = full_model();
  for (const int64_t missing : {0, 1, 2}) {
    auto actions = make_step(stages, {}, 0, {.num_micro_batches = 3, .strict = true});
    std::erase(actions, Action{ActionKind::kReduce, 2, missing});
    const Problems problems = step_problems(actions, stages);
    ASSERT_FALSE(problems.empty()) << missing;
    EXPECT_NE(problems.front().find("was not reduced"), std::string::npos) << problems.front();
  }
}

}  // namespace
}  // namespace hone::parallel
