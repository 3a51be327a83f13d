#include "parallel/schedule.h"

#include <algorithm>
#include <set>

#include "core/error.h"

namespace hone::parallel {
namespace {

using core::ErrorKind;
using core::fail;

Keep what_to_keep(int64_t stage, int64_t first_trainable, int64_t head, bool recompute) {
  if (stage < first_trainable) return Keep::kNothing;
  const bool cheap_to_keep = stage == 0 || stage == head - 1;
  return recompute && !cheap_to_keep ? Keep::kInput : Keep::kGraph;
}

std::vector<Action> compute_of_micro_batch(int64_t micro_batch, int64_t num_stages,
                                           int64_t first_trainable, bool recompute) {
  const int64_t head = num_stages - 1;
  std::vector<Action> actions;
  for (int64_t stage = 0; stage < head; ++stage) {
    actions.push_back({ActionKind::kForward, stage, micro_batch,
                       what_to_keep(stage, first_trainable, head, recompute)});
  }
  actions.push_back({ActionKind::kLoss, head, micro_batch});
  for (int64_t stage = head - 1; stage >= first_trainable; --stage) {
    if (what_to_keep(stage, first_trainable, head, recompute) == Keep::kInput) {
      actions.push_back({ActionKind::kRecompute, stage, micro_batch});
    }
    actions.push_back({ActionKind::kBackward, stage, micro_batch});
  }
  return actions;
}

// The stages whose gathered parameters an action reads.
std::set<int64_t> reads(const Action& action, const std::vector<StageDescriptor>& stages) {
  const StageDescriptor& stage = stages[static_cast<size_t>(action.stage)];
  if (action.kind == ActionKind::kBackward && !stage.backward_reads_parameters) return {};
  std::set<int64_t> read;
  for (const int64_t other : {action.stage, stage.shares_with}) {
    if (other >= 0 && stages[static_cast<size_t>(other)].is_gathered) read.insert(other);
  }
  return read;
}

// One action of computing with the round it belongs to.
struct Use {
  Action action;
  int64_t round_begin = 0;  // first micro-batch of the round
  bool is_idle = false;     // this rank has no micro-batch in the round
  std::set<int64_t> reads;
};

// Puts gathers, frees and reductions around the computing.
class StepWriter {
 public:
  StepWriter(const std::vector<StageDescriptor>& stages, bool reduce_every_round, bool overlap)
      : stages_(stages), reduce_every_round_(reduce_every_round), overlap_(overlap) {}

  std::vector<Action> write(const std::vector<Use>& uses) {
    for (size_t i = 0; i < uses.size(); ++i) {
      gather(uses[i].reads, uses[i].round_begin);
      if (i + 1 < uses.size()) gather(uses[i + 1].reads, uses[i + 1].round_begin);
      if (!uses[i].is_idle) actions_.push_back(uses[i].action);
      free_unless_near(uses, i);
      const bool is_last_round = uses[i].round_begin == uses.back().round_begin;
      reduce_after(uses[i], is_last_round);
    }
    for (auto stage = static_cast<int64_t>(stages_.size()) - 1; stage >= 0; --stage) {
      if (trains(stage) && !completed_.contains(stage)) complete(stage);
    }
    actions_.push_back({ActionKind::kUpdate});
    return std::move(actions_);
  }

 private:
  bool trains(int64_t stage) const { return stages_[static_cast<size_t>(stage)].num_trainable > 0; }

  void gather(const std::set<int64_t>& wanted, int64_t round_begin) {
    for (const int64_t stage : wanted) {
      if (!gathered_.insert(stage).second) continue;
      actions_.push_back({ActionKind::kGather, stage, round_begin});
    }
  }

  void free_unless_near(const std::vector<Use>& uses, size_t i) {
    for (auto stage = gathered_.begin(); stage != gathered_.end();) {
      const auto is_read = [&](size_t next) {
        return next < uses.size() && uses[next].reads.contains(*stage);
      };
      if (is_read(i + 1) || is_read(i + 2)) {
        ++stage;
        continue;
      }
      actions_.push_back({ActionKind::kFree, *stage, uses[i].round_begin});
      stage = gathered_.erase(stage);
    }
  }

  // A shared stage's gradient is done with that stage's own backward.
  void reduce_after(const Use& use, bool is_last_round) {
    const bool ends =
        use.action.kind == ActionKind::kLoss || use.action.kind == ActionKind::kBackward;
    if (!ends || !trains(use.action.stage)) return;
    if (reduce_every_round_)
      actions_.push_back({ActionKind::kReduce, use.action.stage, use.round_begin});
    if (overlap_ && is_last_round) complete(use.action.stage);
  }

  void complete(int64_t stage) {
    completed_.insert(stage);
    actions_.push_back({ActionKind::kReduce, stage});
  }

  const std::vector<StageDescriptor>& stages_;
  const bool reduce_every_round_, overlap_;
  std::vector<Action> actions_;
  std::set<int64_t> gathered_, completed_;
};

void check_possible(const std::vector<StageDescriptor>& stages, const Layout& layout, int64_t rank,
                    const StepOptions& options) {
  const auto num_stages = static_cast<int64_t>(stages.size());
  if (num_stages < 2 || options.num_micro_batches < 1) {
    fail(ErrorKind::kInternal, {.what = "no step can be made",
                                .got = std::to_string(num_stages) + " stages, " +
                                       std::to_string(options.num_micro_batches) + " micro-batches",
                                .expected = "at least 2 stages and 1 micro-batch"});
  }
  if (layout.cp * layout.tp * layout.pp != 1 || rank < 0 || rank >= layout.num_ranks()) {
    fail(ErrorKind::kInternal, {.what = "no step for this layout",
                                .got = describe_layout(layout) + ", rank " + std::to_string(rank)});
  }
  if (first_trainable_stage(stages) == num_stages) {
    fail(ErrorKind::kInternal, {.what = "no step can be made: no stage has trainable parameters"});
  }
}

}  // namespace

int64_t num_rounds(int64_t num_micro_batches, int64_t data_parallel_size) {
  return (num_micro_batches + data_parallel_size - 1) / data_parallel_size;
}

int64_t data_parallel_rank(const Layout& layout, int64_t rank) {
  const RankPosition position = rank_position(layout, rank);
  return position.replicate * layout.dp_shard + position.shard;
}

std::vector<int64_t> micro_batches_of(const Layout& layout, int64_t rank,
                                      int64_t num_micro_batches) {
  std::vector<int64_t> own;
  for (int64_t i = data_parallel_rank(layout, rank); i < num_micro_batches;
       i += layout.data_parallel_size()) {
    own.push_back(i);
  }
  return own;
}

bool reduces_every_round(const Layout& layout, const StepOptions& options) {
  return options.strict || (layout.dp_shard > 1 && options.shard_level >= 2);
}

int64_t first_trainable_stage(const std::vector<StageDescriptor>& stages) {
  const auto found =
      std::ranges::find_if(stages, [](const auto& stage) { return stage.num_trainable > 0; });
  return found - stages.begin();
}

std::vector<Action> make_step(const std::vector<StageDescriptor>& stages, const Layout& layout,
                              int64_t rank, const StepOptions& options) {
  check_possible(stages, layout, rank, options);
  const auto num_stages = static_cast<int64_t>(stages.size());
  const int64_t first_trainable = first_trainable_stage(stages);
  const int64_t width = layout.data_parallel_size();
  const int64_t place = data_parallel_rank(layout, rank);
  std::vector<Use> uses;
  for (int64_t begin = 0; begin < options.num_micro_batches; begin += width) {
    for (const Action& action :
         compute_of_micro_batch(begin + place, num_stages, first_trainable, options.recompute)) {
      uses.push_back({.action = action,
                      .round_begin = begin,
                      .is_idle = begin + place >= options.num_micro_batches,
                      .reads = reads(action, stages)});
    }
  }
  std::vector<Action> actions =
      StepWriter(stages, reduces_every_round(layout, options), options.overlap_reduce).write(uses);
  const std::vector<std::string> problems = step_problems(actions, stages);
  if (!problems.empty()) {
    fail(ErrorKind::kInternal, {.what = "a step that makes no sense", .got = problems.front()});
  }
  return actions;
}

std::string describe_action(const Action& action, const std::vector<StageDescriptor>& stages) {
  static constexpr const char* kNames[] = {"forward", "loss", "recompute", "backward",
                                           "gather",  "free", "reduce",    "update"};
  std::string text = kNames[static_cast<int>(action.kind)];
  if (action.stage >= 0 && action.stage < static_cast<int64_t>(stages.size()))
    text += " " + stages[static_cast<size_t>(action.stage)].name;
  if (action.micro_batch >= 0) text += " of micro-batch " + std::to_string(action.micro_batch);
  return text;
}

}  // namespace hone::parallel
