#include "trainer/step.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <string>

#include "core/error.h"
#include "trainer/numerical.h"

namespace hone::trainer {
namespace {

using parallel::Action;
using parallel::ActionKind;
using parallel::Keep;

Part part_of(ActionKind kind) {
  switch (kind) {
    case ActionKind::kForward:
      return Part::kForward;
    case ActionKind::kLoss:
      return Part::kLoss;
    case ActionKind::kRecompute:
      return Part::kRecompute;
    case ActionKind::kBackward:
      return Part::kBackward;
    case ActionKind::kReduce:
    case ActionKind::kUpdate:
      break;
  }
  return Part::kOptimizer;
}

// Activations are [T, D]: tokens of the micro-batch by hidden size.
class StepRun {
 public:
  StepRun(models::Model& model, OptimizerState& optimizer,
          std::span<const data::MicroBatch> micro_batches, const StepOptions& options)
      : model_(model),
        optimizer_(optimizer),
        micro_batches_(micro_batches),
        options_(options),
        inputs_(model.stages.size()),
        outputs_(model.stages.size()) {
    for (const data::MicroBatch& micro_batch : micro_batches) {
      result_.num_trained_tokens += micro_batch.num_trained_tokens;
      result_.num_tokens += static_cast<int64_t>(micro_batch.input_ids.size());
    }
    if (options.num_sources > 1) {
      result_.by_source.resize(static_cast<size_t>(options.num_sources));
    }
    loss_scale_ = 1.0 / static_cast<double>(std::max<int64_t>(1, result_.num_trained_tokens));
    for (models::Stage& stage : model_.stages) {
      if (stage.grads.defined()) stage.grads.zero_();
    }
  }

  void execute(const Action& action) {
    const Timeline::Span span =
        timeline().action(part_of(action.kind), [&] { return name_of(action); });
    switch (action.kind) {
      case ActionKind::kForward:
        return forward(action);
      case ActionKind::kLoss:
        return loss(action);
      case ActionKind::kRecompute:
        return run_under_autograd(action.stage, inputs_[action.stage]);
      case ActionKind::kBackward:
        return backward(action);
      case ActionKind::kReduce:
        return;  // one rank: its gradient is the global one
      case ActionKind::kUpdate:
        return update();
    }
  }

  const StepResult& result() const { return result_; }

 private:
  Timeline& timeline() { return options_.timeline == nullptr ? untold_ : *options_.timeline; }

  std::string name_of(const Action& action) const {
    return parallel::describe_action(action, describe_stages(model_));
  }

  void begin_micro_batch(int64_t index) {
    const data::MicroBatch& source = micro_batches_[index];
    batch_ = models::make_batch(model_, source.input_ids, source.position_ids, source.labels,
                                source.cu_doc_lens);
    context_ = training_context(options_.seed, options_.step, index);
    running_ = at::Tensor();
  }

  void forward(const Action& action) {
    if (action.stage == 0) begin_micro_batch(action.micro_batch);
    if (action.keep == Keep::kGraph) {
      run_under_autograd(action.stage, running_);
      running_ = outputs_[action.stage].detach();
      return;
    }
    if (action.keep == Keep::kInput) inputs_[action.stage] = running_;
    const at::NoGradGuard no_grad;
    running_ = model_.stages[action.stage].forward(running_, batch_, context_);
  }

  // Leaves inputs_[stage], cut off from what made it, and outputs_[stage] with the graph between
  // them.
  void run_under_autograd(int64_t stage, const at::Tensor& input_TD) {
    const at::AutoGradMode with_grad(true);
    inputs_[stage] = input_TD.defined() ? input_TD.detach().requires_grad_(true) : input_TD;
    outputs_[stage] = model_.stages[stage].forward(inputs_[stage], batch_, context_);
  }

  void loss(const Action& action) {
    const at::NoGradGuard no_grad;
    const kernels::HeadLoss head = model_.head(running_, batch_, loss_scale_, true, context_);
    if (!std::isfinite(head.loss_sum)) {
      fail_not_finite(model_, "the loss of " + step_name() + " is not finite", head.loss_sum,
                      micro_batches_.subspan(action.micro_batch, 1));
    }
    result_.loss_sum += head.loss_sum;
    add_losses(micro_batches_[static_cast<size_t>(action.micro_batch)], head.losses,
               result_.by_source);
    running_ = head.grad_x_TD;
  }

  void backward(const Action& action) {
    at::Tensor output_TD = std::exchange(outputs_[action.stage], {});
    at::Tensor input_TD = std::exchange(inputs_[action.stage], {});
    if (!output_TD.requires_grad()) {
      core::fail(core::ErrorKind::kInternal,
                 {.what = "the stage has trainable parameters but no graph",
                  .where = model_.stages[action.stage].name});
    }
    torch::autograd::backward({output_TD}, {running_});
    running_ = input_TD.defined() ? input_TD.grad() : at::Tensor();
  }

  void update() {
    {
      const Timeline::Span span = timeline().detail("gradient norm");
      result_.grad_norm = gradient_norm(model_);
    }
    if (!std::isfinite(result_.grad_norm)) {
      fail_not_finite(model_, "the gradient of " + step_name() + " is not finite",
                      result_.grad_norm, micro_batches_);
    }
    const Timeline::Span span = timeline().detail("clip and AdamW");
    const at::NoGradGuard no_grad;
    update_parameters(model_, optimizer_, options_.optimizer, options_.learning_rate,
                      clip_factor(result_.grad_norm, options_.optimizer.max_grad_norm));
  }

  std::string step_name() const { return "step " + std::to_string(options_.step + 1); }

  models::Model& model_;
  OptimizerState& optimizer_;
  std::span<const data::MicroBatch> micro_batches_;
  const StepOptions& options_;
  std::vector<at::Tensor> inputs_, outputs_;  // kept for the backward, one a stage
  models::Batch batch_;
  models::ForwardContext context_;
  at::Tensor running_;  // the activation going up, then the gradient coming down
  double loss_scale_ = 1.0;
  StepResult result_;
  Timeline untold_;  // where nobody wants to know
};

}  // namespace

std::vector<parallel::StageDescriptor> describe_stages(const models::Model& model) {
  std::vector<parallel::StageDescriptor> stages;
  for (const models::Stage& stage : model.stages) {
    stages.push_back({.name = stage.name,
                      .num_trainable = stage.trainable.defined() ? stage.trainable.numel() : 0});
  }
  return stages;
}

models::ForwardContext training_context(uint64_t seed, int64_t step, int64_t index) {
  // A step never has 2^24 micro-batches, so every micro-batch of a run has a number of its own.
  return {.training = true,
          .seed = seed,
          .micro_step = (static_cast<uint64_t>(step) << 24) | static_cast<uint64_t>(index)};
}

StepResult run_step(models::Model& model, OptimizerState& optimizer,
                    const std::vector<Action>& actions,
                    std::span<const data::MicroBatch> micro_batches, const StepOptions& options) {
  StepRun run(model, optimizer, micro_batches, options);
  for (const Action& action : actions) run.execute(action);
  return run.result();
}

}  // namespace hone::trainer
