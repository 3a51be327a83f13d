#include "parallel/schedule.h"

#include <algorithm>

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

void add_micro_batch(std::vector<Action>& actions, int64_t micro_batch, int64_t num_stages,
                     int64_t first_trainable, bool recompute) {
  const int64_t head = num_stages - 1;
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
}

// What one walk over the actions has live, for checking and for adding up bytes.
class Walk {
 public:
  explicit Walk(const std::vector<StageDescriptor>& stages)
      : stages_(stages), kept_(stages.size(), Keep::kNothing), reduced_(stages.size(), false) {}

  // Returns what is wrong with the action here, or "".
  std::string take(const Action& action) {
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
  int64_t num_stages() const { return static_cast<int64_t>(stages_.size()); }
  int64_t input_bytes(int64_t stage) const {
    return stage == 0 ? 0 : stages_[stage - 1].output_bytes;
  }

  int64_t kept_bytes() const {
    int64_t bytes = 0;
    for (int64_t stage = 0; stage < num_stages(); ++stage) {
      if (kept_[stage] != Keep::kNothing) bytes += input_bytes(stage);
      if (kept_[stage] == Keep::kGraph) bytes += stages_[stage].graph_bytes;
    }
    return bytes;
  }

  std::string take_forward(const Action& action) {
    if (updated_) return "after the update";
    if (reduced_[action.stage]) return "its gradient was reduced already";
    if (action.stage == 0) {
      if (micro_batch_ >= 0) return "the micro-batch before is not finished";
      micro_batch_ = action.micro_batch;
    } else if (output_of_ != action.stage - 1) {
      return "its input is not there";
    }
    if (action.micro_batch != micro_batch_) return "its input is of another micro-batch";
    output_of_ = action.stage;
    kept_[action.stage] = action.keep;
    live_bytes_ = kept_bytes() + stages_[action.stage].output_bytes +
                  (action.keep == Keep::kNothing ? input_bytes(action.stage) : 0);
    return "";
  }

  std::string take_loss(const Action& action) {
    if (action.stage != num_stages() - 1) return "only the last stage has a loss";
    if (output_of_ != action.stage - 1 || action.micro_batch != micro_batch_)
      return "its input is not there";
    live_bytes_ = kept_bytes() + stages_[action.stage].graph_bytes + 2 * input_bytes(action.stage);
    output_of_ = -1;
    gradient_for_ = action.stage - 1;
    end_micro_batch_if_done(action.stage - 1);
    return "";
  }

  std::string take_recompute(const Action& action) {
    if (kept_[action.stage] != Keep::kInput) return "its input was not kept for this";
    if (action.micro_batch != micro_batch_) return "its input is of another micro-batch";
    kept_[action.stage] = Keep::kGraph;
    live_bytes_ = kept_bytes() + 2 * stages_[action.stage].output_bytes;
    return "";
  }

  std::string take_backward(const Action& action) {
    if (kept_[action.stage] != Keep::kGraph) return "its graph is not there";
    if (gradient_for_ != action.stage || action.micro_batch != micro_batch_)
      return "its gradient is not there";
    live_bytes_ = kept_bytes() + stages_[action.stage].output_bytes + input_bytes(action.stage);
    kept_[action.stage] = Keep::kNothing;
    gradient_for_ = action.stage - 1;
    end_micro_batch_if_done(action.stage - 1);
    return "";
  }

  std::string take_reduce(const Action& action) {
    if (micro_batch_ >= 0) return "a micro-batch is not finished";
    if (reduced_[action.stage]) return "reduced twice";
    reduced_[action.stage] = true;
    live_bytes_ = 0;
    return "";
  }

  std::string take_update() {
    if (updated_) return "updated twice";
    if (micro_batch_ >= 0) return "a micro-batch is not finished";
    for (int64_t stage = 0; stage < num_stages(); ++stage) {
      if (stages_[stage].num_trainable > 0 && !reduced_[stage])
        return stages_[stage].name + " was not reduced";
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
  std::vector<Keep> kept_;
  std::vector<bool> reduced_;
  int64_t micro_batch_ = -1;   // the one in progress
  int64_t output_of_ = -1;     // the stage whose output is live
  int64_t gradient_for_ = -1;  // the stage whose output gradient is live
  int64_t live_bytes_ = 0;
  bool updated_ = false;
};

}  // namespace

int64_t first_trainable_stage(const std::vector<StageDescriptor>& stages) {
  const auto found =
      std::ranges::find_if(stages, [](const auto& stage) { return stage.num_trainable > 0; });
  return found - stages.begin();
}

std::vector<Action> make_step(const std::vector<StageDescriptor>& stages, const Layout& layout,
                              int64_t rank, const StepOptions& options) {
  const auto num_stages = static_cast<int64_t>(stages.size());
  if (num_stages < 2 || options.num_micro_batches < 1) {
    fail(ErrorKind::kInternal, {.what = "no step can be made",
                                .got = std::to_string(num_stages) + " stages, " +
                                       std::to_string(options.num_micro_batches) + " micro-batches",
                                .expected = "at least 2 stages and 1 micro-batch"});
  }
  if (layout != Layout{} || rank != 0) {
    fail(ErrorKind::kInternal, {.what = "no step for this layout", .got = describe_layout(layout)});
  }
  const int64_t first_trainable = first_trainable_stage(stages);
  if (first_trainable == num_stages) {
    fail(ErrorKind::kInternal, {.what = "no step can be made: no stage has trainable parameters"});
  }
  std::vector<Action> actions;
  for (int64_t micro_batch = 0; micro_batch < options.num_micro_batches; ++micro_batch) {
    add_micro_batch(actions, micro_batch, num_stages, first_trainable, options.recompute);
  }
  for (int64_t stage = num_stages - 1; stage >= 0; --stage) {
    if (stages[stage].num_trainable > 0) actions.push_back({ActionKind::kReduce, stage});
  }
  actions.push_back({ActionKind::kUpdate});
  return actions;
}

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

std::string describe_action(const Action& action, const std::vector<StageDescriptor>& stages) {
  static constexpr const char* kNames[] = {"forward",  "loss",   "recompute",
                                           "backward", "reduce", "update"};
  std::string text = kNames[static_cast<int>(action.kind)];
  if (action.stage >= 0 && action.stage < static_cast<int64_t>(stages.size()))
    text += " " + stages[action.stage].name;
  if (action.micro_batch >= 0) text += " of micro-batch " + std::to_string(action.micro_batch);
  if (action.peer >= 0) text += " with rank " + std::to_string(action.peer);
  return text;
}

}  // namespace hone::parallel
