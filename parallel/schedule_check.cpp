// Walks over a step's actions: whether they make sense, and what is live meanwhile.
#include <algorithm>
#include <map>
#include <utility>

#include "parallel/schedule.h"

namespace hone::parallel {
namespace {

class Walk {
 public:
  Walk(const std::vector<StageDescriptor>& stages, const Pipeline& pipeline, int64_t rank,
       int64_t batch_bytes = 0)
      : stages_(stages),
        pipeline_(pipeline.num_stages == 0 ? whole_pipeline(num_stages()) : pipeline),
        rank_(rank),
        is_held_(held_stages(stages, pipeline_, rank)),
        first_trainable_(first_trainable_stage(stages)),
        states_(stages.size()),
        begins_chunk_(stages.size(), 0),
        batch_bytes_(batch_bytes) {
    for (int64_t stage = 1; stage < num_stages(); ++stage)
      begins_chunk_[static_cast<size_t>(stage)] =
          pipeline_.chunk_of(stage) != pipeline_.chunk_of(stage - 1) ? 1 : 0;
  }

  // Returns what is wrong with the action here, or "".
  std::string take(const Action& action) {
    if (updated_) return "after the update";
    if (action.kind == ActionKind::kUpdate) return take_update();
    if (action.stage < 0 || action.stage >= num_stages()) return "no such stage";
    if (!is_held_[static_cast<size_t>(action.stage)]) return "the stage is not on this rank";
    switch (action.kind) {
      case ActionKind::kForward:
        return take_forward(action);
      case ActionKind::kLoss:
        return take_loss(action);
      case ActionKind::kRecompute:
        return take_recompute(action);
      case ActionKind::kBackward:
        return take_backward(action);
      case ActionKind::kGather:
        return take_gather(action);
      case ActionKind::kFree:
        return take_free(action);
      case ActionKind::kReduce:
        return take_reduce(action);
      case ActionKind::kSendOutput:
        return take_send_output(action);
      case ActionKind::kReceiveInput:
        return take_receive_input(action);
      case ActionKind::kSendGradient:
        return take_send_gradient(action);
      case ActionKind::kReceiveGradient:
        return take_receive_gradient(action);
      case ActionKind::kUpdate:
        break;
    }
    return "";
  }

  std::string finish() const { return updated_ ? "" : "the step ends without an update"; }

  // Bytes live while the action that was just taken ran.
  int64_t live_bytes() const { return live_bytes_; }

 private:
  struct State {
    bool is_gathered = false;
    int64_t num_unreduced = 0;  // micro-batches added up since the gradient was last reduced
    bool is_complete = false;
    int64_t last_forward = -1;  // micro-batch
  };

  // What there is of a micro-batch at a stage.
  struct Activations {
    Keep kept = Keep::kNothing;
    bool has_output = false;  // that the next stage, or rank, has not had yet
    bool has_received_input = false;
    bool has_gradient = false;  // of the output
    bool is_empty() const {
      return kept == Keep::kNothing && !has_output && !has_received_input && !has_gradient;
    }
  };
  using Place = std::pair<int64_t, int64_t>;  // micro-batch, stage

  int64_t num_stages() const { return static_cast<int64_t>(stages_.size()); }
  int64_t head() const { return num_stages() - 1; }
  State& state(int64_t stage) { return states_[static_cast<size_t>(stage)]; }
  const StageDescriptor& of(int64_t stage) const { return stages_[static_cast<size_t>(stage)]; }
  int64_t input_bytes(int64_t stage) const { return stage == 0 ? 0 : of(stage - 1).output_bytes; }
  bool is_computed(int64_t stage) const { return pipeline_.rank_of(stage) == rank_; }
  bool begins_chunk(int64_t stage) const { return begins_chunk_[static_cast<size_t>(stage)] != 0; }
  bool ends_chunk(int64_t stage) const { return stage < head() && begins_chunk(stage + 1); }

  Activations& at(const Action& action, int64_t stage) {
    return live_[{action.micro_batch, stage}];
  }
  bool consume(const Action& action, int64_t stage, bool Activations::*what) {
    const auto found = live_.find({action.micro_batch, stage});
    if (found == live_.end() || !std::exchange(found->second.*what, false)) return false;
    if (found->second.is_empty()) live_.erase(found);
    return true;
  }
  bool consume_input(const Action& action) {
    if (begins_chunk(action.stage))
      return consume(action, action.stage, &Activations::has_received_input);
    return consume(action, action.stage - 1, &Activations::has_output);
  }
  Keep kept(const Action& action) const {
    const auto found = live_.find({action.micro_batch, action.stage});
    return found == live_.end() ? Keep::kNothing : found->second.kept;
  }

  // An output that the next stage here was given is counted as that stage's input; one that went to
  // another rank is still part of the graph.
  bool counts_output(int64_t stage, const Activations& activations) const {
    return activations.has_output || (ends_chunk(stage) && activations.kept == Keep::kGraph);
  }
  int64_t bytes_now() const {
    int64_t bytes = 0, micro_batch = -1;
    for (const auto& [place, activations] : live_) {
      const int64_t stage = place.second;
      if (std::exchange(micro_batch, place.first) != place.first) bytes += batch_bytes_;
      if (activations.kept != Keep::kNothing) bytes += input_bytes(stage);
      if (activations.kept == Keep::kGraph) bytes += of(stage).graph_bytes;
      if (counts_output(stage, activations)) bytes += of(stage).output_bytes;
      if (activations.has_received_input) bytes += input_bytes(stage);
      if (activations.has_gradient) bytes += of(stage).output_bytes;
    }
    return bytes;
  }

  int64_t forward_work_bytes(const Action& forward) const {
    const StageDescriptor& stage = of(forward.stage);
    return forward.keep == Keep::kGraph ? stage.graph_work_bytes : stage.forward_work_bytes;
  }

  // "" when the parameters that the stage computes with are there.
  std::string missing_parameters(int64_t stage) {
    for (const int64_t other : {stage, of(stage).shares_with}) {
      if (other >= 0 && of(other).is_gathered && !state(other).is_gathered)
        return "the parameters of " + of(other).name + " are not gathered";
    }
    return "";
  }

  std::string take_forward(const Action& action) {
    if (!is_computed(action.stage) || action.stage == head()) return "not a forward of this rank";
    if (std::string problem = missing_parameters(action.stage); !problem.empty()) return problem;
    if (state(action.stage).is_complete) return "its gradient was complete already";
    const bool one_at_a_time = pipeline_.num_ranks == 1;
    if (action.stage == 0 && one_at_a_time && !live_.empty())
      return "the micro-batch before is not finished";
    int64_t& last = state(action.stage).last_forward;
    if (action.micro_batch <= last) return "not after the micro-batch before";
    if (action.stage > 0 && !consume_input(action)) return "its input is not there";
    last = action.micro_batch;
    Activations& own = at(action, action.stage);
    own.has_output = true;
    own.kept = action.keep;
    live_bytes_ = bytes_now() + (action.keep == Keep::kNothing ? input_bytes(action.stage) : 0) +
                  forward_work_bytes(action);
    return "";
  }

  std::string take_loss(const Action& action) {
    if (action.stage != head()) return "only the last stage has a loss";
    if (!consume_input(action)) return "its input is not there";
    if (state(action.stage).is_complete) return "its gradient was complete already";
    if (std::string problem = missing_parameters(action.stage); !problem.empty()) return problem;
    live_bytes_ = bytes_now() + of(action.stage).graph_bytes + 2 * input_bytes(action.stage);
    give_gradient(action, action.stage - 1);
    ++state(action.stage).num_unreduced;
    const int64_t shared = of(action.stage).shares_with;
    if (shared >= 0 && !is_computed(shared)) ++state(shared).num_unreduced;
    return "";
  }

  void give_gradient(const Action& action, int64_t stage) {
    if (stage >= first_trainable_) at(action, stage).has_gradient = true;
  }

  std::string take_recompute(const Action& action) {
    if (std::string problem = missing_parameters(action.stage); !problem.empty()) return problem;
    if (kept(action) != Keep::kInput) return "its input was not kept for this";
    Activations& own = at(action, action.stage);
    const bool had_output = counts_output(action.stage, own);
    own.kept = Keep::kGraph;
    const bool has_output = counts_output(action.stage, own);
    const int64_t output_bytes = of(action.stage).output_bytes;
    live_bytes_ = bytes_now() + (!had_output && has_output ? 0 : output_bytes) +
                  of(action.stage).graph_work_bytes;
    return "";
  }

  std::string take_backward(const Action& action) {
    if (of(action.stage).backward_reads_parameters) {
      if (std::string problem = missing_parameters(action.stage); !problem.empty()) return problem;
    }
    if (kept(action) != Keep::kGraph) return "its graph is not there";
    if (!at(action, action.stage).has_gradient) return "its gradient is not there";
    live_bytes_ = bytes_now() + input_bytes(action.stage) + of(action.stage).backward_work_bytes;
    at(action, action.stage).kept = Keep::kNothing;
    consume(action, action.stage, &Activations::has_gradient);
    ++state(action.stage).num_unreduced;
    give_gradient(action, action.stage - 1);
    return "";
  }

  std::string take_gather(const Action& action) {
    if (!of(action.stage).is_gathered) return "its parameters are not sharded";
    if (state(action.stage).is_gathered) return "gathered twice";
    state(action.stage).is_gathered = true;
    return "";
  }

  std::string take_free(const Action& action) {
    if (!state(action.stage).is_gathered) return "freed but not gathered";
    state(action.stage).is_gathered = false;
    return "";
  }

  // A rank without a micro-batch in a round takes part with zeros.
  std::string take_reduce(const Action& action) {
    if (state(action.stage).is_complete) return "its gradient was complete already";
    if (is_pending(action)) return "its backward is still to come";
    live_bytes_ = bytes_now();
    if (action.micro_batch >= 0) {
      reduces_rounds_ = true;
      const bool skipped_one = std::exchange(state(action.stage).num_unreduced, 0) > 1;
      return skipped_one ? "the round before was not reduced" : "";
    }
    state(action.stage).is_complete = true;
    return "";
  }

  // The micro-batches of later rounds may be under way in a pipeline, but not on their way up.
  bool is_pending(const Action& reduce) const {
    const bool has_rounds_after = reduce.micro_batch >= 0 && pipeline_.num_ranks > 1;
    return std::ranges::any_of(live_, [&](const auto& entry) {
      const auto& [place, activations] = entry;
      const auto [micro_batch, stage] = place;
      if (activations.has_output && stage < head() - 1 && !ends_chunk(stage)) return true;
      if (has_rounds_after && micro_batch >= reduce.micro_batch) return false;
      return stage == reduce.stage ? activations.kept != Keep::kNothing || activations.has_gradient
                                   : activations.has_output && reduce.stage > stage;
    });
  }

  std::string take_send_output(const Action& action) {
    if (!ends_chunk(action.stage)) return "the next stage is not another rank's";
    if (action.peer != pipeline_.rank_of(action.stage + 1)) return "to another rank than the next";
    live_bytes_ = bytes_now();
    if (!consume(action, action.stage, &Activations::has_output)) return "its output is not there";
    return "";
  }

  std::string take_receive_input(const Action& action) {
    if (!is_computed(action.stage) || !begins_chunk(action.stage))
      return "the stage before is not another rank's";
    if (action.peer != pipeline_.rank_of(action.stage - 1)) return "from another rank than that";
    if (std::exchange(at(action, action.stage).has_received_input, true)) return "received twice";
    live_bytes_ = bytes_now();
    return "";
  }

  std::string take_send_gradient(const Action& action) {
    if (!begins_chunk(action.stage)) return "the stage before is not another rank's";
    if (action.peer != pipeline_.rank_of(action.stage - 1)) return "to another rank than that";
    live_bytes_ = bytes_now();
    if (!consume(action, action.stage - 1, &Activations::has_gradient))
      return "its gradient is not there";
    return "";
  }

  std::string take_receive_gradient(const Action& action) {
    if (!is_computed(action.stage) || !ends_chunk(action.stage))
      return "the next stage is not another rank's";
    if (action.peer != pipeline_.rank_of(action.stage + 1))
      return "from another rank than the next";
    if (std::exchange(at(action, action.stage).has_gradient, true)) return "received twice";
    live_bytes_ = bytes_now();
    return "";
  }

  std::string take_update() {
    if (!live_.empty()) return "a micro-batch is not finished";
    for (int64_t stage = 0; stage < num_stages(); ++stage) {
      if (state(stage).is_gathered) return of(stage).name + " is still gathered";
      if (of(stage).num_trainable == 0 || !is_held_[static_cast<size_t>(stage)]) continue;
      if (!state(stage).is_complete) return of(stage).name + " was not reduced";
      if (reduces_rounds_ && state(stage).num_unreduced > 0)
        return "a round of " + of(stage).name + " was not reduced";
    }
    updated_ = true;
    live_bytes_ = 0;
    return "";
  }

  const std::vector<StageDescriptor>& stages_;
  const Pipeline pipeline_;
  const int64_t rank_;
  const std::vector<bool> is_held_;
  const int64_t first_trainable_;
  std::vector<State> states_;
  std::vector<char> begins_chunk_;  // by stage; asked for at every action
  std::map<Place, Activations> live_;
  const int64_t batch_bytes_;
  int64_t live_bytes_ = 0;
  bool reduces_rounds_ = false, updated_ = false;
};

}  // namespace

std::vector<std::string> step_problems(const std::vector<Action>& actions,
                                       const std::vector<StageDescriptor>& stages,
                                       const Pipeline& pipeline, int64_t pipeline_rank) {
  std::vector<std::string> problems;
  Walk walk(stages, pipeline, pipeline_rank);
  for (size_t i = 0; i < actions.size(); ++i) {
    const std::string problem = walk.take(actions[i]);
    if (!problem.empty()) {
      problems.push_back("action " + std::to_string(i) + ", " +
                         describe_action(actions[i], stages) + ": " + problem);
    }
  }
  if (const std::string problem = walk.finish(); !problem.empty()) problems.push_back(problem);
  return problems;
}

std::vector<int64_t> live_activation_bytes(const std::vector<Action>& actions,
                                           const std::vector<StageDescriptor>& stages,
                                           const Pipeline& pipeline, int64_t pipeline_rank,
                                           int64_t batch_bytes) {
  Walk walk(stages, pipeline, pipeline_rank, batch_bytes);
  std::vector<int64_t> bytes;
  bytes.reserve(actions.size());
  for (const Action& action : actions) {
    walk.take(action);
    bytes.push_back(walk.live_bytes());
  }
  return bytes;
}

int64_t peak_activation_bytes(const std::vector<Action>& actions,
                              const std::vector<StageDescriptor>& stages, const Pipeline& pipeline,
                              int64_t pipeline_rank, int64_t batch_bytes) {
  const std::vector<int64_t> bytes =
      live_activation_bytes(actions, stages, pipeline, pipeline_rank, batch_bytes);
  return bytes.empty() ? 0 : *std::ranges::max_element(bytes);
}

}  // namespace hone::parallel
