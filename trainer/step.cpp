#include "trainer/step.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "core/error.h"
#include "parallel/comm/agree.h"
#include "trainer/gather.h"
#include "trainer/gradient_sum.h"
#include "trainer/numerical.h"
#include "trainer/step_numbers.h"

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
    case ActionKind::kGather:
    case ActionKind::kFree:
    case ActionKind::kReduce:
    case ActionKind::kUpdate:
      break;
  }
  return Part::kCommunicate;
}

// Activations are [T, D]: tokens of the micro-batch by hidden size.
class StepRun {
 public:
  StepRun(models::Model& model, OptimizerState& optimizer, parallel::Mesh& mesh,
          std::span<const data::MicroBatch> micro_batches, const StepOptions& options)
      : model_(model),
        optimizer_(optimizer),
        mesh_(mesh),
        micro_batches_(micro_batches),
        options_(options),
        inputs_(model.stages.size()),
        outputs_(model.stages.size()),
        parameters_(model, mesh),
        gradients_(model, mesh, options.strict),
        numbers_(num_micro_batches(), options.num_sources),
        sums_(options.to_sum) {
    int64_t num_trained = options.num_trained_tokens;
    if (num_trained < 0) {
      num_trained = 0;
      for (const data::MicroBatch& own : micro_batches) num_trained += own.num_trained_tokens;
    }
    loss_scale_ = 1.0 / static_cast<double>(std::max<int64_t>(1, num_trained));
  }

  void execute(const Action& action) {
    if (action.kind == ActionKind::kUpdate) return update();
    make_ready(action);
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
      case ActionKind::kGather:
        return parameters_.start(action.stage);
      case ActionKind::kFree:
        return parameters_.free(action.stage);
      case ActionKind::kReduce:
        return reduce(action);
      case ActionKind::kUpdate:
        break;
    }
  }

  StepResult finish() {
    exchange();
    result_.loss_sum = numbers_.loss_sum();
    result_.num_tokens = numbers_.num_tokens();
    result_.num_trained_tokens = numbers_.num_trained_tokens();
    result_.by_source = numbers_.by_source();
    result_.sums = sums_;
    result_.comm_bytes += parameters_.bytes() + gradients_.bytes();
    return result_;
  }

 private:
  Timeline& timeline() { return options_.timeline == nullptr ? untold_ : *options_.timeline; }

  int64_t num_micro_batches() const {
    return options_.num_micro_batches < 0 ? static_cast<int64_t>(micro_batches_.size())
                                          : options_.num_micro_batches;
  }

  // The rank's own, by its number in the step.
  const data::MicroBatch& micro_batch(int64_t index) const {
    return micro_batches_[static_cast<size_t>(index / mesh_.data_size())];
  }

  std::string name_of(const Action& action) const {
    return parallel::describe_action(action, describe_stages(model_));
  }

  // Waits for parameters that are on their way, and lends memory to gradients.
  void make_ready(const Action& action) {
    const bool computes = action.kind == ActionKind::kForward || action.kind == ActionKind::kLoss ||
                          action.kind == ActionKind::kRecompute ||
                          action.kind == ActionKind::kBackward;
    if (!computes) return;
    const bool adds_gradients =
        action.kind == ActionKind::kLoss || action.kind == ActionKind::kBackward;
    const Timeline::Span span =
        timeline().action(Part::kCommunicate, [&] { return "wait to " + name_of(action); });
    parameters_.poll();
    for (const int64_t stage :
         {action.stage, model_.stages[static_cast<size_t>(action.stage)].shares_with}) {
      if (stage < 0) continue;
      parameters_.wait(stage);
      if (adds_gradients) gradients_.prepare(stage);
    }
  }

  void begin_micro_batch(int64_t index) {
    const data::MicroBatch& source = micro_batch(index);
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

  // A loss that is not finite is one that all ranks must hear of: it is dealt with in `update`.
  void loss(const Action& action) {
    const at::NoGradGuard no_grad;
    const kernels::HeadLoss head = model_.head(running_, batch_, loss_scale_, true, context_);
    numbers_.enter(action.micro_batch, micro_batch(action.micro_batch), head.loss_sum, head.losses);
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

  void reduce(const Action& action) {
    if (action.micro_batch >= 0) return gradients_.reduce_round(action.stage);
    gradients_.complete(action.stage, options_.overlap_reduce);
  }

  void exchange(std::span<double> squares = {}) {
    if (std::exchange(exchanged_, true)) return;
    const Timeline::Span span = timeline().action(Part::kCommunicate, [] { return "exchange"; });
    std::vector<double> more = sums_;
    more.insert(more.end(), squares.begin(), squares.end());
    numbers_.exchange(mesh_, more);
    const auto end_of_sums = more.begin() + static_cast<std::ptrdiff_t>(sums_.size());
    std::copy(more.begin(), end_of_sums, sums_.begin());
    std::copy(end_of_sums, more.end(), squares.begin());
  }

  void update() {
    const Timeline::Span whole = timeline().detail("update");
    {
      const Timeline::Span span = timeline().action(Part::kCommunicate, [] { return "reduce"; });
      gradients_.wait();
    }
    result_.grad_norm = norm_over_ranks();
    check_finite();
    if (options_.before_update) options_.before_update();
    {
      const Timeline::Span part =
          timeline().action(Part::kOptimizer, [] { return "clip and AdamW"; });
      const at::NoGradGuard no_grad;
      update_parameters(model_, optimizer_, options_.optimizer, options_.learning_rate,
                        clip_factor(result_.grad_norm, options_.optimizer.max_grad_norm));
    }
    const Timeline::Span span = timeline().action(Part::kCommunicate, [] { return "share"; });
    result_.comm_bytes += share_parameters(model_, mesh_);
  }

  // Replicas have the same gradient: the first one's squares count.
  double norm_over_ranks() {
    std::vector<double> squares;
    {
      const Timeline::Span span =
          timeline().action(Part::kOptimizer, [] { return "gradient norm"; });
      squares = gradient_squares(model_);
    }
    if (parallel::rank_position(mesh_.layout, mesh_.rank).replicate != 0)
      std::ranges::fill(squares, 0.0);
    exchange(squares);
    return norm_of_squares(squares);
  }

  void check_finite() {
    const int64_t bad = numbers_.first_not_finite();
    if (bad < 0 && std::isfinite(result_.grad_norm)) return;
    parallel::together(mesh_.host, [&] {
      const bool is_mine = bad % mesh_.data_size() == mesh_.data_rank();
      if (bad >= 0 && is_mine) {
        fail_not_finite(model_, "the loss of " + step_name() + " is not finite",
                        numbers_.loss_of(bad), {&micro_batch(bad), 1});
      }
      if (bad < 0 && !first_bad_parameter(model_).empty()) fail_gradient();
    });
    parallel::together(mesh_.host, [&] {
      if (mesh_.rank == 0) fail_gradient();  // finite elements with a norm that is not
    });
  }

  [[noreturn]] void fail_gradient() const {
    fail_not_finite(model_, "the gradient of " + step_name() + " is not finite", result_.grad_norm,
                    micro_batches_);
  }

  std::string step_name() const { return "step " + std::to_string(options_.step + 1); }

  models::Model& model_;
  OptimizerState& optimizer_;
  parallel::Mesh& mesh_;
  std::span<const data::MicroBatch> micro_batches_;
  const StepOptions& options_;
  std::vector<at::Tensor> inputs_, outputs_;  // kept for the backward, one a stage
  ParameterGather parameters_;
  GradientSum gradients_;
  MicroBatchNumbers numbers_;
  std::vector<double> sums_;
  models::Batch batch_;
  models::ForwardContext context_;
  at::Tensor running_;  // the activation going up, then the gradient coming down
  double loss_scale_ = 1.0;
  bool exchanged_ = false;
  StepResult result_;
  Timeline untold_;  // where nobody wants to know
};

}  // namespace

std::vector<parallel::StageDescriptor> describe_stages(const models::Model& model) {
  std::vector<parallel::StageDescriptor> stages;
  for (const models::Stage& stage : model.stages) {
    const bool has_any = stage.trainable.numel() + stage.frozen.numel() > 0;
    stages.push_back({.name = stage.name,
                      .num_trainable = stage.trainable.numel(),
                      .shares_with = stage.shares_with,
                      .backward_reads_parameters = stage.backward_reads_parameters,
                      .is_gathered = has_any && model.sharding.shards(parallel::kShardParameters)});
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
  std::optional<parallel::Mesh> own_mesh;
  if (options.mesh == nullptr) own_mesh = parallel::solo_mesh();
  StepRun run(model, optimizer, own_mesh ? *own_mesh : *options.mesh, micro_batches, options);
  for (const Action& action : actions) run.execute(action);
  return run.finish();
}

}  // namespace hone::trainer
