// Walks over a step's actions: whether they make sense, and what is live meanwhile.
#include <algorithm>
#include <utility>

#include "parallel/schedule.h"

namespace hone::parallel {
namespace {

class Walk {
 public:
  explicit Walk(const std::vector<StageDescriptor>& stages)
      : stages_(stages), states_(stages.size()) {}

  // Returns what is wrong with the action here, or "".
  std::string take(const Action& action) {
    if (updated_) return "after the update";
    if (action.kind == ActionKind::kUpdate) return take_update();
    if (action.stage < 0 || action.stage >= num_stages()) return "no such stage";
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
    Keep kept = Keep::kNothing;
    bool is_gathered = false;
    int64_t num_unreduced = 0;  // micro-batches added up since the gradient was last reduced
    bool is_complete = false;
  };

  int64_t num_stages() const { return static_cast<int64_t>(stages_.size()); }
  State& state(int64_t stage) { return states_[static_cast<size_t>(stage)]; }
  const StageDescriptor& of(int64_t stage) const { return stages_[static_cast<size_t>(stage)]; }
  int64_t input_bytes(int64_t stage) const { return stage == 0 ? 0 : of(stage - 1).output_bytes; }

  int64_t kept_bytes() const {
    int64_t bytes = 0;
    for (int64_t stage = 0; stage < num_stages(); ++stage) {
      const Keep kept = states_[static_cast<size_t>(stage)].kept;
      if (kept != Keep::kNothing) bytes += input_bytes(stage);
      if (kept == Keep::kGraph) bytes += of(stage).graph_bytes;
    }
    return bytes;
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
    if (std::string problem = missing_parameters(action.stage); !problem.empty()) return problem;
    if (state(action.stage).is_complete) return "its gradient was complete already";
    if (action.stage == 0) {
      if (micro_batch_ >= 0) return "the micro-batch before is not finished";
      if (action.micro_batch <= last_micro_batch_) return "not after the micro-batch before";
      micro_batch_ = last_micro_batch_ = action.micro_batch;
    } else if (output_of_ != action.stage - 1) {
      return "its input is not there";
    }
    if (action.micro_batch != micro_batch_) return "its input is of another micro-batch";
    output_of_ = action.stage;
    state(action.stage).kept = action.keep;
    live_bytes_ = kept_bytes() + of(action.stage).output_bytes +
                  (action.keep == Keep::kNothing ? input_bytes(action.stage) : 0);
    return "";
  }

  std::string take_loss(const Action& action) {
    if (action.stage != num_stages() - 1) return "only the last stage has a loss";
    if (output_of_ != action.stage - 1 || action.micro_batch != micro_batch_)
      return "its input is not there";
    if (state(action.stage).is_complete) return "its gradient was complete already";
    if (std::string problem = missing_parameters(action.stage); !problem.empty()) return problem;
    live_bytes_ = kept_bytes() + of(action.stage).graph_bytes + 2 * input_bytes(action.stage);
    output_of_ = -1;
    gradient_for_ = action.stage - 1;
    ++state(action.stage).num_unreduced;
    end_micro_batch_if_done(action.stage - 1);
    return "";
  }

  std::string take_recompute(const Action& action) {
    if (std::string problem = missing_parameters(action.stage); !problem.empty()) return problem;
    if (state(action.stage).kept != Keep::kInput) return "its input was not kept for this";
    if (action.micro_batch != micro_batch_) return "its input is of another micro-batch";
    state(action.stage).kept = Keep::kGraph;
    live_bytes_ = kept_bytes() + 2 * of(action.stage).output_bytes;
    return "";
  }

  std::string take_backward(const Action& action) {
    if (of(action.stage).backward_reads_parameters) {
      if (std::string problem = missing_parameters(action.stage); !problem.empty()) return problem;
    }
    if (state(action.stage).kept != Keep::kGraph) return "its graph is not there";
    if (gradient_for_ != action.stage || action.micro_batch != micro_batch_)
      return "its gradient is not there";
    live_bytes_ = kept_bytes() + of(action.stage).output_bytes + input_bytes(action.stage);
    state(action.stage).kept = Keep::kNothing;
    ++state(action.stage).num_unreduced;
    gradient_for_ = action.stage - 1;
    end_micro_batch_if_done(action.stage - 1);
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
    const bool is_pending = gradient_for_ >= action.stage || output_of_ >= 0 ||
                            state(action.stage).kept != Keep::kNothing;
    if (micro_batch_ >= 0 && is_pending) return "its backward is still to come";
    if (action.micro_batch >= 0) {
      reduces_rounds_ = true;
      const bool skipped_one = std::exchange(state(action.stage).num_unreduced, 0) > 1;
      return skipped_one ? "the round before was not reduced" : "";
    }
    state(action.stage).is_complete = true;
    live_bytes_ = 0;
    return "";
  }

  std::string take_update() {
    if (micro_batch_ >= 0) return "a micro-batch is not finished";
    for (int64_t stage = 0; stage < num_stages(); ++stage) {
      if (state(stage).is_gathered) return of(stage).name + " is still gathered";
      if (of(stage).num_trainable == 0) continue;
      if (!state(stage).is_complete) return of(stage).name + " was not reduced";
      if (reduces_rounds_ && state(stage).num_unreduced > 0)
        return "a round of " + of(stage).name + " was not reduced";
    }
    updated_ = true;
    live_bytes_ = 0;
    return "";
  }

  // A micro-batch is over when its gradient has passed the lowest trainable stage.
  void end_micro_batch_if_done(int64_t next_stage) {
    if (next_stage >= first_trainable_stage(stages_)) return;
    micro_batch_ = -1;
    gradient_for_ = -1;
  }

  const std::vector<StageDescriptor>& stages_;
  std::vector<State> states_;
  int64_t micro_batch_ = -1;  // the one in progress
  int64_t last_micro_batch_ = -1;
  int64_t output_of_ = -1;     // the stage whose output is live
  int64_t gradient_for_ = -1;  // the stage whose output gradient is live
  int64_t live_bytes_ = 0;
  bool reduces_rounds_ = false, updated_ = false;
};

bool is_collective(const Action& action) {
  return action.kind == ActionKind::kGather || action.kind == ActionKind::kReduce ||
         action.kind == ActionKind::kUpdate;
}

std::vector<Action> collectives(const std::vector<Action>& actions) {
  std::vector<Action> result;
  std::ranges::copy_if(actions, std::back_inserter(result), is_collective);
  return result;
}

}  // namespace

std::vector<std::string> step_problems(const std::vector<Action>& actions,
                                       const std::vector<StageDescriptor>& stages) {
  std::vector<std::string> problems;
  Walk walk(stages);
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

std::vector<std::string> collective_problems(const std::vector<std::vector<Action>>& ranks,
                                             const std::vector<StageDescriptor>& stages) {
  std::vector<std::string> problems;
  if (ranks.empty()) return problems;
  const std::vector<Action> expected = collectives(ranks.front());
  const auto name = [&](const std::vector<Action>& list, size_t i) {
    return i < list.size() ? describe_action(list[i], stages) : std::string("nothing");
  };
  for (size_t rank = 1; rank < ranks.size(); ++rank) {
    const std::vector<Action> own = collectives(ranks[rank]);
    const auto differs = std::ranges::mismatch(expected, own);
    if (differs.in1 == expected.end() && differs.in2 == own.end()) continue;
    const auto i = static_cast<size_t>(differs.in1 - expected.begin());
    problems.push_back("collective " + std::to_string(i) + ": rank 0 has " + name(expected, i) +
                       ", rank " + std::to_string(rank) + " has " + name(own, i));
  }
  return problems;
}

int64_t peak_activation_bytes(const std::vector<Action>& actions,
                              const std::vector<StageDescriptor>& stages) {
  Walk walk(stages);
  int64_t peak = 0;
  for (const Action& action : actions) {
    walk.take(action);
    peak = std::max(peak, walk.live_bytes());
  }
  return peak;
}

}  // namespace hone::parallel
