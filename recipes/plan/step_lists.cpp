#include "recipes/plan/step_lists.h"

#include <algorithm>
#include <iterator>

#include "parallel/step_ranks.h"

namespace hone::recipes {
namespace {

using parallel::Action;
using parallel::ActionKind;
using Lists = std::vector<std::vector<Action>>;

// The rank of the first tensor and context rank.
int64_t rank_of(const parallel::Layout& layout, int64_t place, int64_t data_rank) {
  return parallel::rank_at(layout, {.replicate = data_rank / layout.dp_shard,
                                    .shard = data_rank % layout.dp_shard,
                                    .pipeline = place});
}

// With the numbers of micro-batches that data-parallel rank 0 has instead of `data_rank`'s.
void renumber(std::vector<Action>& actions, int64_t data_rank) {
  for (Action& action : actions) {
    if (action.micro_batch >= 0 && !parallel::is_collective(action) &&
        action.kind != ActionKind::kFree)
      action.micro_batch -= data_rank;
  }
}

// Pipelines that were made, each different from the others by more than numbers.
struct Kind {
  int64_t data_rank = 0;
  Lists as_rank_0;  // by place
};

// The lists of one data-parallel rank of each kind as a run of its own: the collectives of all are
// equal (checked before), so kinds that get to the end together do so with any number of their
// like.
void run_kinds(const PlanInput& input, const std::vector<parallel::StageDescriptor>& stages,
               const std::vector<Kind>& kinds, std::vector<std::string>& problems) {
  const parallel::Layout layout{.dp_replicate = static_cast<int64_t>(kinds.size()),
                                .pp = input.layout.pp};
  Lists ranks(static_cast<size_t>(layout.num_ranks()));
  for (int64_t place = 0; place < layout.pp; ++place) {
    for (size_t kind = 0; kind < kinds.size(); ++kind) {
      const int64_t data_rank = kinds[kind].data_rank;
      ranks[static_cast<size_t>(rank_of(layout, place, static_cast<int64_t>(kind)))] =
          parallel::make_step(stages, input.layout, rank_of(input.layout, place, data_rank),
                              step_options(input));
    }
  }
  std::ranges::copy(parallel::rank_problems(ranks, stages, layout, input.pipeline),
                    std::back_inserter(problems));
}

void count_exchanges(StepLists& lists) {
  for (const std::vector<Action>& actions : lists.by_place) {
    lists.num_collectives += std::ranges::count_if(actions, parallel::is_collective);
    lists.num_messages += std::ranges::count_if(actions, parallel::is_send);
  }
}

}  // namespace

parallel::StepOptions step_options(const PlanInput& input) {
  return {.num_micro_batches = input.num_micro_batches(),
          .recompute = input.recompute,
          .shard_level = input.shard_level,
          .strict = input.strict,
          .overlap_reduce = input.hardware.is_gpu,
          .pipeline = input.pipeline};
}

StepLists make_step_lists(const PlanInput& input,
                          const std::vector<parallel::StageDescriptor>& stages) {
  const parallel::Layout& layout = input.layout;
  StepLists lists;
  std::vector<Kind> kinds;
  for (int64_t data_rank = 0; data_rank < layout.data_parallel_size(); ++data_rank) {
    Kind own{.data_rank = data_rank};
    for (int64_t place = 0; place < layout.pp; ++place) {
      own.as_rank_0.push_back(parallel::make_step(stages, layout, rank_of(layout, place, data_rank),
                                                  step_options(input)));
      std::vector<Action>& actions = own.as_rank_0.back();
      if (data_rank > 0) {
        const auto& first = lists.by_place[static_cast<size_t>(place)];
        std::ranges::copy(parallel::collective_problems(
                              {first, actions}, stages,
                              {rank_of(layout, place, 0), rank_of(layout, place, data_rank)}),
                          std::back_inserter(lists.problems));
      } else {
        lists.by_place.push_back(actions);
      }
      renumber(actions, data_rank);
    }
    lists.num_proved += layout.pp * layout.tp * layout.cp;
    const bool is_known = std::ranges::any_of(
        kinds, [&](const Kind& kind) { return kind.as_rank_0 == own.as_rank_0; });
    if (!is_known) kinds.push_back(std::move(own));
  }
  run_kinds(input, stages, kinds, lists.problems);
  count_exchanges(lists);
  return lists;
}

StepLists unproved_step_lists(const PlanInput& input,
                              const std::vector<parallel::StageDescriptor>& stages) {
  StepLists lists;
  for (int64_t place = 0; place < input.layout.pp; ++place) {
    lists.by_place.push_back(parallel::make_step(
        stages, input.layout, rank_of(input.layout, place, 0), step_options(input)));
  }
  count_exchanges(lists);
  return lists;
}

}  // namespace hone::recipes
