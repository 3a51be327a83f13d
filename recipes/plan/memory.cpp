#include "recipes/plan/memory.h"

#include <algorithm>
#include <bit>

namespace hone::recipes {
namespace {

using parallel::Action;
using parallel::ActionKind;

constexpr int64_t kFloat = 4;

// What is there at the actions of a place in the pipeline beside what is kept between steps.
struct Moment {
  size_t action = 0;
  int64_t gathered = 0, activations = 0, head_chunk = 0;
  int64_t total() const { return gathered + activations + head_chunk; }
};

// Parameters and gradients that are whole for a while, of one rank of the tensor axis.
class Borrowed {
 public:
  Borrowed(const PlanInput& input, const ShardTable& table, int64_t tensor_rank)
      : input_(input),
        table_(table),
        tensor_rank_(tensor_rank),
        num_parts_(input.layout.dp_shard * input.layout.cp),
        lends_gradients_(num_parts_ > 1 && input.shard_level >= parallel::kShardGradients),
        has_gradient_(table.stages.size(), 0) {}

  // Bytes while the action runs.
  int64_t take(const Action& action) {
    int64_t passing = 0;
    switch (action.kind) {
      case ActionKind::kGather:
        bytes_ += whole(action.stage);
        break;
      case ActionKind::kFree:
        bytes_ -= whole(action.stage);
        break;
      case ActionKind::kLoss:
      case ActionKind::kBackward:
        lend(action.stage);
        lend(table_.stages[static_cast<size_t>(action.stage)].shares_with);
        break;
      case ActionKind::kReduce:
        if (action.micro_batch >= 0) passing = reduce(action.stage);
        break;
      default:
        break;
    }
    return bytes_ + passing;
  }

 private:
  const StageShare& share(int64_t stage) const {
    return table_.of(tensor_rank_, static_cast<size_t>(stage));
  }
  int64_t whole(int64_t stage) const {
    const StageShare& own = share(stage);
    return input_.element_bytes() * (own.trainable + own.frozen);
  }
  void lend(int64_t stage) {
    if (!lends_gradients_ || stage < 0 || has_gradient_[static_cast<size_t>(stage)] != 0) return;
    has_gradient_[static_cast<size_t>(stage)] = 1;
    bytes_ += kFloat * share(stage).trainable;
  }
  // The sum is put beside the terms, which are given back then.
  int64_t reduce(int64_t stage) {
    const int64_t sum = kFloat * share(stage).trainable / num_parts_;
    if (!lends_gradients_) return sum;
    lend(stage);
    has_gradient_[static_cast<size_t>(stage)] = 0;
    bytes_ -= kFloat * share(stage).trainable;
    return sum + kFloat * share(stage).trainable;
  }

  const PlanInput& input_;
  const ShardTable& table_;
  const int64_t tensor_rank_, num_parts_;
  const bool lends_gradients_;
  std::vector<char> has_gradient_;
  int64_t bytes_ = 0;
};

bool has_activations(const Action& action) {
  return action.kind != ActionKind::kGather && action.kind != ActionKind::kFree;
}

struct Course {
  Moment peak;
  Moment most;  // of each part
};

Course walk(const std::vector<Action>& actions, const std::vector<int64_t>& live,
            int64_t head_chunk, Borrowed borrowed) {
  Course course;
  for (size_t i = 0; i < actions.size(); ++i) {
    Moment now{.action = i, .gathered = borrowed.take(actions[i])};
    if (!has_activations(actions[i])) continue;
    now.activations = live[i];
    if (actions[i].kind == ActionKind::kLoss) {
      now.head_chunk = std::min(head_chunk, live[i]);
      now.activations -= now.head_chunk;
    }
    course.most.gathered = std::max(course.most.gathered, now.gathered);
    course.most.activations = std::max(course.most.activations, now.activations);
    course.most.head_chunk = std::max(course.most.head_chunk, now.head_chunk);
    if (now.total() > course.peak.total()) course.peak = now;
  }
  return course;
}

MemoryParts parts_of(const KeptBytes& kept, const Moment& moment) {
  return {.parameters = kept.parameters,
          .gradients = kept.gradients,
          .optimizer = kept.optimizer,
          .gathered = moment.gathered,
          .activations = moment.activations,
          .head_chunk = moment.head_chunk};
}

// `strict` keeps sums of rounds by powers of two.
int64_t strict_bytes(const PlanInput& input, const KeptBytes& kept) {
  if (!input.strict) return 0;
  const auto rounds = static_cast<uint64_t>(input.accumulation);
  return kept.optimizer / 2 * std::bit_width(rounds);
}

}  // namespace

MemoryPlan plan_memory(const PlanInput& input, const ShardTable& table, const StepLists& lists) {
  const int64_t head_chunk = table.stages.back().graph_bytes;
  std::vector<std::vector<Course>> courses;  // by place and tensor rank
  for (size_t place = 0; place < lists.by_place.size(); ++place) {
    const auto& actions = lists.by_place[place];
    const auto live = parallel::live_activation_bytes(
        actions, table.stages, input.pipeline, static_cast<int64_t>(place), table.batch_bytes);
    courses.emplace_back();
    for (int64_t rank = 0; rank < input.layout.tp; ++rank)
      courses.back().push_back(walk(actions, live, head_chunk, Borrowed(input, table, rank)));
  }
  MemoryPlan plan;
  const std::vector<KeptBytes> kept = kept_bytes(input, table);
  int64_t most = -1;
  for (size_t rank = 0; rank < kept.size(); ++rank) {
    const auto position = parallel::rank_position(input.layout, static_cast<int64_t>(rank));
    const auto place = static_cast<size_t>(position.pipeline);
    const Course& course = courses[place][static_cast<size_t>(position.tensor)];
    MemoryParts parts = parts_of(kept[rank], course.peak);
    parts.gradients += strict_bytes(input, kept[rank]);
    plan.total_by_rank.push_back(parts.total());
    if (parts.total() <= most) continue;
    most = parts.total();
    plan.largest = {
        .rank = static_cast<int64_t>(rank),
        .most = parts_of(kept[rank], course.most),
        .at_peak = parts,
        .peak = parallel::describe_action(lists.by_place[place][course.peak.action], table.stages)};
    plan.largest.most.gradients = parts.gradients;
  }
  return plan;
}

}  // namespace hone::recipes
