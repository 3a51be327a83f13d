#include "parallel/schedule.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "core/error.h"
#include "parallel/pipeline_order.h"

namespace hone::parallel {
namespace {

using core::ErrorKind;
using core::fail;

// What the actions of a step depend on.
struct Plan {
  const std::vector<StageDescriptor>& stages;
  Pipeline pipeline;
  int64_t rank = 0;  // on the pipeline axis
  int64_t first_trainable = 0;
  bool recompute = false;

  int64_t head() const { return static_cast<int64_t>(stages.size()) - 1; }
  int64_t peer_of(int64_t chunk) const { return chunk % pipeline.num_ranks; }
};

// An event with what it is about in this step.
struct Event {
  PipelineEvent event;
  int64_t round_begin = 0;  // first micro-batch of the round
  int64_t micro_batch = 0;
  bool is_idle = false;              // this rank has no micro-batch in the round
  bool backward_comes_next = false;  // of the same chunk and micro-batch
};

Keep what_to_keep(const Plan& plan, const Event& event, int64_t stage) {
  if (stage < plan.first_trainable) return Keep::kNothing;
  const bool cheap_to_keep = stage == 0 || (stage == plan.head() - 1 && event.backward_comes_next);
  return plan.recompute && !cheap_to_keep ? Keep::kInput : Keep::kGraph;
}

std::vector<Action> forward_of(const Plan& plan, const Event& event) {
  std::vector<Action> actions;
  const int64_t chunk = event.event.chunk;
  const int64_t end = std::min(plan.pipeline.chunk_end(chunk), plan.head());
  for (int64_t stage = plan.pipeline.begin_of(chunk); stage < end; ++stage) {
    actions.push_back(
        {ActionKind::kForward, stage, event.micro_batch, what_to_keep(plan, event, stage)});
  }
  return actions;
}

// `keeps` are those of the stages' forwards.
std::vector<Action> backward_of(const Plan& plan, const Event& event,
                                const std::vector<Keep>& keeps) {
  std::vector<Action> actions;
  const int64_t chunk = event.event.chunk;
  int64_t stage = plan.pipeline.chunk_end(chunk) - 1;
  if (stage == plan.head()) actions.push_back({ActionKind::kLoss, stage--, event.micro_batch});
  const int64_t last = std::max(plan.pipeline.begin_of(chunk), plan.first_trainable);
  for (; stage >= last; --stage) {
    if (keeps[static_cast<size_t>(stage)] == Keep::kInput)
      actions.push_back({ActionKind::kRecompute, stage, event.micro_batch});
    actions.push_back({ActionKind::kBackward, stage, event.micro_batch});
  }
  return actions;
}

// What an event waits for from another rank, and what it has for another: nothing or one message.
std::vector<Action> receives_of(const Plan& plan, const Event& event) {
  const int64_t chunk = event.event.chunk;
  if (event.is_idle) return {};
  if (event.event.is_forward) {
    if (chunk == 0) return {};
    return {{.kind = ActionKind::kReceiveInput,
             .stage = plan.pipeline.begin_of(chunk),
             .micro_batch = event.micro_batch,
             .peer = plan.peer_of(chunk - 1)}};
  }
  if (chunk == plan.pipeline.num_chunks() - 1) return {};
  return {{.kind = ActionKind::kReceiveGradient,
           .stage = plan.pipeline.chunk_end(chunk) - 1,
           .micro_batch = event.micro_batch,
           .peer = plan.peer_of(chunk + 1)}};
}

std::vector<Action> sends_of(const Plan& plan, const Event& event) {
  const int64_t chunk = event.event.chunk;
  if (event.is_idle) return {};
  if (event.event.is_forward) {
    if (chunk == plan.pipeline.num_chunks() - 1) return {};
    return {{.kind = ActionKind::kSendOutput,
             .stage = plan.pipeline.chunk_end(chunk) - 1,
             .micro_batch = event.micro_batch,
             .peer = plan.peer_of(chunk + 1)}};
  }
  const int64_t begin = plan.pipeline.begin_of(chunk);
  if (begin <= plan.first_trainable) return {};
  return {{.kind = ActionKind::kSendGradient,
           .stage = begin,
           .micro_batch = event.micro_batch,
           .peer = plan.peer_of(chunk - 1)}};
}

// Without the backwards of chunks below the first trainable stage.
std::vector<Event> events_of(const Plan& plan, int64_t num_micro_batches, int64_t width,
                             int64_t place) {
  std::vector<Event> events;
  for (const PipelineEvent& event :
       pipeline_order(plan.pipeline, plan.rank, num_rounds(num_micro_batches, width))) {
    if (!event.is_forward && plan.pipeline.chunk_end(event.chunk) <= plan.first_trainable) continue;
    if (!events.empty()) {
      const PipelineEvent& before = events.back().event;
      events.back().backward_comes_next =
          !event.is_forward && before.chunk == event.chunk && before.round == event.round;
    }
    const int64_t begin = event.round * width;
    events.push_back({.event = event,
                      .round_begin = begin,
                      .micro_batch = begin + place,
                      .is_idle = begin + place >= num_micro_batches});
  }
  return events;
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
  std::vector<Action> before, after;  // receives to start, sends
};

std::vector<Use> uses_of(const Plan& plan, const std::vector<Event>& events) {
  std::vector<Use> uses;
  std::map<int64_t, std::vector<Keep>> keeps;  // by micro-batch, of all stages
  for (size_t i = 0; i < events.size(); ++i) {
    const Event& event = events[i];
    auto& kept = keeps.try_emplace(event.micro_batch, plan.stages.size()).first->second;
    const std::vector<Action> actions =
        event.event.is_forward ? forward_of(plan, event) : backward_of(plan, event, kept);
    const size_t begin = uses.size();
    for (const Action& action : actions) {
      if (action.kind == ActionKind::kForward)
        kept[static_cast<size_t>(action.stage)] = action.keep;
      uses.push_back({.action = action,
                      .round_begin = event.round_begin,
                      .is_idle = event.is_idle,
                      .reads = reads(action, plan.stages)});
    }
    if (i == 0) uses[begin].before = receives_of(plan, event);
    if (i + 1 < events.size())
      std::ranges::copy(receives_of(plan, events[i + 1]), std::back_inserter(uses[begin].before));
    uses.back().after = sends_of(plan, event);
  }
  return uses;
}

// Puts gathers, frees and reductions around the computing.
class StepWriter {
 public:
  StepWriter(const Plan& plan, bool reduce_every_round, bool overlap)
      : stages_(plan.stages),
        pipeline_(plan.pipeline),
        rank_(plan.rank),
        is_held_(held_stages(plan.stages, plan.pipeline, plan.rank)),
        reduce_every_round_(reduce_every_round),
        overlap_(overlap) {}

  std::vector<Action> write(const std::vector<Use>& uses, int64_t last_round_begin) {
    for (size_t i = 0; i < uses.size(); ++i) {
      gather(uses[i].reads, uses[i].round_begin);
      if (i + 1 < uses.size()) gather(uses[i + 1].reads, uses[i + 1].round_begin);
      std::ranges::copy(uses[i].before, std::back_inserter(actions_));
      if (!uses[i].is_idle) actions_.push_back(uses[i].action);
      std::ranges::copy(uses[i].after, std::back_inserter(actions_));
      free_unless_near(uses, i);
      reduce_after(uses[i], uses[i].round_begin == last_round_begin);
    }
    for (auto stage = static_cast<int64_t>(stages_.size()) - 1; stage >= 0; --stage) {
      if (is_held(stage) && trains(stage) && !completed_.contains(stage)) complete(stage);
    }
    actions_.push_back({ActionKind::kUpdate});
    return std::move(actions_);
  }

 private:
  bool is_held(int64_t stage) const { return is_held_[static_cast<size_t>(stage)]; }
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

  // A shared stage's gradient is done with that stage's own backward, or with the loss where
  // another rank computes that one.
  void reduce_after(const Use& use, bool is_last_round) {
    const bool ends =
        use.action.kind == ActionKind::kLoss || use.action.kind == ActionKind::kBackward;
    if (!ends) return;
    const int64_t stage = use.action.stage;
    reduce(stage, use.round_begin, is_last_round);
    const int64_t shared = stages_[static_cast<size_t>(stage)].shares_with;
    if (shared >= 0 && pipeline_.rank_of(shared) != rank_)
      reduce(shared, use.round_begin, is_last_round);
  }

  void reduce(int64_t stage, int64_t round_begin, bool is_last_round) {
    if (!trains(stage)) return;
    if (reduce_every_round_) actions_.push_back({ActionKind::kReduce, stage, round_begin});
    if (overlap_ && is_last_round && num_holders(stages_, pipeline_, stage) == 1) complete(stage);
  }

  void complete(int64_t stage) {
    completed_.insert(stage);
    actions_.push_back({ActionKind::kReduce, stage});
  }

  const std::vector<StageDescriptor>& stages_;
  const Pipeline& pipeline_;
  const int64_t rank_;
  const std::vector<bool> is_held_;
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
  const Pipeline& pipeline = options.pipeline;
  const bool fits_pipeline =
      pipeline.num_stages == 0
          ? layout.pp == 1
          : pipeline.num_stages == num_stages && pipeline.num_ranks == layout.pp &&
                pipeline.num_chunks() % pipeline.num_ranks == 0 &&
                pipeline.begin_of(pipeline.num_chunks() - 1) < num_stages - 1;
  if (!fits_pipeline || rank < 0 || rank >= layout.num_ranks()) {
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
  return options.strict || (layout.dp_shard * layout.cp > 1 && options.shard_level >= 2);
}

std::vector<bool> held_stages(const std::vector<StageDescriptor>& stages, const Pipeline& pipeline,
                              int64_t pipeline_rank) {
  std::vector<bool> is_held(stages.size(), false);
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    if (pipeline.rank_of(static_cast<int64_t>(stage)) != pipeline_rank) continue;
    is_held[stage] = true;
    const int64_t shared = stages[stage].shares_with;
    if (shared >= 0) is_held[static_cast<size_t>(shared)] = true;
  }
  return is_held;
}

int64_t num_holders(const std::vector<StageDescriptor>& stages, const Pipeline& pipeline,
                    int64_t stage) {
  int64_t count = 0;
  for (int64_t rank = 0; rank < pipeline.num_ranks; ++rank)
    count += held_stages(stages, pipeline, rank)[static_cast<size_t>(stage)] ? 1 : 0;
  return count;
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
  // Chunks that follow each other on one rank are one.
  const Plan plan{.stages = stages,
                  .pipeline = layout.pp == 1 ? whole_pipeline(num_stages) : options.pipeline,
                  .rank = rank_position(layout, rank).pipeline,
                  .first_trainable = first_trainable_stage(stages),
                  .recompute = options.recompute};
  const int64_t width = layout.data_parallel_size();
  const std::vector<Use> uses = uses_of(
      plan, events_of(plan, options.num_micro_batches, width, data_parallel_rank(layout, rank)));
  const int64_t last_round = num_rounds(options.num_micro_batches, width) - 1;
  std::vector<Action> actions =
      StepWriter(plan, reduces_every_round(layout, options), options.overlap_reduce)
          .write(uses, last_round * width);
  const std::vector<std::string> problems =
      step_problems(actions, stages, plan.pipeline, plan.rank);
  if (!problems.empty()) {
    fail(ErrorKind::kInternal, {.what = "a step that makes no sense", .got = problems.front()});
  }
  return actions;
}

std::string describe_action(const Action& action, const std::vector<StageDescriptor>& stages) {
  static constexpr const char* kNames[] = {"forward",
                                           "loss",
                                           "recompute",
                                           "backward",
                                           "gather",
                                           "free",
                                           "reduce",
                                           "update",
                                           "send output of",
                                           "receive input of",
                                           "send input gradient of",
                                           "receive output gradient of"};
  std::string text = kNames[static_cast<int>(action.kind)];
  if (action.stage >= 0 && action.stage < static_cast<int64_t>(stages.size()))
    text += " " + stages[static_cast<size_t>(action.stage)].name;
  if (action.micro_batch >= 0) text += " of micro-batch " + std::to_string(action.micro_batch);
  return text;
}

}  // namespace hone::parallel
