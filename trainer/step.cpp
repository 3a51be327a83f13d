#include "trainer/step.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>

#include "core/error.h"
#include "parallel/comm/agree.h"
#include "trainer/activations.h"
#include "trainer/gather.h"
#include "trainer/gradient_sum.h"
#include "trainer/numerical.h"
#include "trainer/stage_messages.h"
#include "trainer/step_numbers.h"

namespace hone::trainer {
namespace {

using parallel::Action;
using parallel::ActionKind;

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
    case ActionKind::kSendOutput:
    case ActionKind::kReceiveInput:
    case ActionKind::kSendGradient:
    case ActionKind::kReceiveGradient:
      break;
  }
  return Part::kCommunicate;
}

bool computes(const Action& action) {
  return action.kind == ActionKind::kForward || action.kind == ActionKind::kLoss ||
         action.kind == ActionKind::kRecompute || action.kind == ActionKind::kBackward;
}

// Not what the ranks of a round do together.
bool is_of_own_micro_batch(const Action& action) { return computes(action) || action.peer >= 0; }

class StepRun {
 public:
  StepRun(models::Model& model, OptimizerState& optimizer, parallel::Mesh& mesh,
          const std::vector<Action>& actions, std::span<const data::MicroBatch> micro_batches,
          const StepOptions& options)
      : model_(model),
        optimizer_(optimizer),
        mesh_(mesh),
        micro_batches_(micro_batches),
        options_(options),
        stages_(describe_stages(model)),
        activations_(model, options.seed, options.step,
                     [this](int64_t index) { return make_batch(micro_batch(index)); }),
        messages_(mesh.links),
        parameters_(model, mesh),
        gradients_(model, mesh, options.strict),
        numbers_(num_micro_batches(), options.num_sources),
        sums_(options.to_sum) {
    for (const Action& action : actions) {
      if (is_of_own_micro_batch(action)) ++num_actions_left_[action.micro_batch];
    }
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
    {
      const Timeline::Span span =
          timeline().action(part_of(action.kind), [&] { return name_of(action); });
      run(action);
    }
    if (is_of_own_micro_batch(action) && --num_actions_left_[action.micro_batch] == 0)
      activations_.end(action.micro_batch);
  }

  StepResult finish() {
    exchange();
    result_.loss_sum = numbers_.loss_sum();
    result_.num_tokens = numbers_.num_tokens();
    result_.num_trained_tokens = numbers_.num_trained_tokens();
    result_.by_source = numbers_.by_source();
    result_.sums = sums_;
    result_.comm_bytes += parameters_.bytes() + gradients_.bytes() + messages_.bytes();
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
    return parallel::describe_action(action, stages_);
  }

  models::Batch make_batch(const data::MicroBatch& source) const {
    return models::make_batch(model_, source.input_ids, source.position_ids, source.labels,
                              source.cu_doc_lens);
  }

  // Waits for parameters and activations that are on their way, and lends memory to gradients.
  void make_ready(const Action& action) {
    if (!computes(action)) return;
    const bool adds_gradients =
        action.kind == ActionKind::kLoss || action.kind == ActionKind::kBackward;
    const Timeline::Span span =
        timeline().action(Part::kCommunicate, [&] { return "wait to " + name_of(action); });
    parameters_.poll();
    messages_.poll();
    for (const int64_t stage :
         {action.stage, model_.stages[static_cast<size_t>(action.stage)].shares_with}) {
      if (stage < 0) continue;
      parameters_.wait(stage);
      if (adds_gradients) gradients_.prepare(stage);
    }
    if (action.kind == ActionKind::kRecompute) return;
    const MessageKind kind =
        action.kind == ActionKind::kBackward ? MessageKind::kGradient : MessageKind::kOutput;
    at::Tensor received_TD = messages_.take(kind, action.stage, action.micro_batch);
    if (received_TD.defined()) activations_.running(action.micro_batch) = std::move(received_TD);
  }

  void run(const Action& action) {
    switch (action.kind) {
      case ActionKind::kForward:
        return activations_.forward(action.stage, action.micro_batch, action.keep);
      case ActionKind::kLoss:
        return loss(action);
      case ActionKind::kRecompute:
        return activations_.recompute(action.stage, action.micro_batch);
      case ActionKind::kBackward:
        return activations_.backward(action.stage, action.micro_batch);
      case ActionKind::kGather:
        return parameters_.start(action.stage);
      case ActionKind::kFree:
        return parameters_.free(action.stage);
      case ActionKind::kReduce:
        return reduce(action);
      case ActionKind::kSendOutput:
        return send(MessageKind::kOutput, action);
      case ActionKind::kSendGradient:
        return send(MessageKind::kGradient, action);
      case ActionKind::kReceiveInput:
        return receive(MessageKind::kOutput, action);
      case ActionKind::kReceiveGradient:
        return receive(MessageKind::kGradient, action);
      case ActionKind::kUpdate:
        break;
    }
  }

  void send(MessageKind kind, const Action& action) {
    messages_.send(kind, std::exchange(activations_.running(action.micro_batch), {}));
  }

  void receive(MessageKind kind, const Action& action) {
    messages_.receive(kind, action.stage, action.micro_batch,
                      activations_.buffer(action.micro_batch));
  }

  // A loss that is not finite is one that all ranks must hear of: it is dealt with in `update`.
  void loss(const Action& action) {
    const kernels::HeadLoss head = activations_.loss(action.micro_batch, loss_scale_);
    if (!tells_numbers(model_, mesh_)) return;
    numbers_.enter(action.micro_batch, micro_batch(action.micro_batch), head.loss_sum, head.losses);
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
      messages_.finish();
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
      const bool is_mine =
          tells_numbers(model_, mesh_) && bad % mesh_.data_size() == mesh_.data_rank();
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
  const std::vector<parallel::StageDescriptor> stages_;
  Activations activations_;
  StageMessages messages_;
  std::map<int64_t, int64_t> num_actions_left_;  // by micro-batch
  ParameterGather parameters_;
  GradientSum gradients_;
  MicroBatchNumbers numbers_;
  std::vector<double> sums_;
  double loss_scale_ = 1.0;
  bool exchanged_ = false;
  StepResult result_;
  Timeline untold_;  // where nobody wants to know
};

}  // namespace

std::vector<parallel::StageDescriptor> describe_stages(const models::Model& model) {
  const bool is_sharded = model.sharding.shards(parallel::kShardParameters);
  std::vector<parallel::StageDescriptor> stages;
  for (const models::Stage& stage : model.stages) {
    stages.push_back({.name = stage.name,
                      .num_trainable = models::num_trainable(stage),
                      .shares_with = stage.shares_with,
                      .backward_reads_parameters = stage.backward_reads_parameters,
                      .is_gathered = is_sharded && !stage.parameters.empty()});
  }
  return stages;
}

StepResult run_step(models::Model& model, OptimizerState& optimizer,
                    const std::vector<Action>& actions,
                    std::span<const data::MicroBatch> micro_batches, const StepOptions& options) {
  std::optional<parallel::Mesh> own_mesh;
  if (options.mesh == nullptr) own_mesh = parallel::solo_mesh();
  StepRun run(model, optimizer, own_mesh ? *own_mesh : *options.mesh, actions, micro_batches,
              options);
  for (const Action& action : actions) run.execute(action);
  return run.finish();
}

}  // namespace hone::trainer
