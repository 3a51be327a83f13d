#include "trainer/invariance.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "parallel/schedule.h"
#include "trainer/optimizer.h"
#include "trainer/regroup.h"
#include "trainer/step.h"

namespace hone::trainer {
namespace {

struct StepGradients {
  double loss = 0;
  std::vector<at::Tensor> flat;  // a copy of each stage's gradients; undefined where it has none
};

StepGradients run_variant(models::Model& model, OptimizerState& optimizer,
                          const StepVariant& variant, int64_t step, uint64_t seed) {
  auto actions =
      parallel::make_step(describe_stages(model), parallel::Layout{}, 0,
                          {.num_micro_batches = static_cast<int64_t>(variant.micro_batches.size()),
                           .recompute = variant.recompute});
  std::erase_if(actions, [](const parallel::Action& action) {
    return action.kind == parallel::ActionKind::kUpdate;
  });
  const StepResult result =
      run_step(model, optimizer, actions, variant.micro_batches, {.step = step, .seed = seed});
  StepGradients gradients{.loss = result.loss_sum / static_cast<double>(std::max<int64_t>(
                                                        1, result.num_trained_tokens))};
  for (const models::Stage& stage : model.stages) {
    const bool trains = stage.grads.defined() && stage.grads.numel() > 0;
    gradients.flat.push_back(trains ? stage.grads.clone() : at::Tensor());
  }
  return gradients;
}

double norm_of(const at::Tensor& tensor) { return tensor.to(at::kDouble).norm().item<double>(); }

double norm_of_all(const StepGradients& gradients) {
  double squares = 0;
  for (const at::Tensor& flat : gradients.flat) {
    if (flat.defined()) squares += std::pow(norm_of(flat), 2);
  }
  return std::sqrt(squares);
}

// NaN counts as the largest difference there is.
bool is_larger(double value, double than) { return !(value <= than); }

void take_larger(const models::Model& model, const StepGradients& variant,
                 const StepGradients& reference, VariantDifference& difference) {
  const double scale = std::max(std::abs(reference.loss), 1e-30);
  const double loss = std::abs(variant.loss - reference.loss) / scale;
  difference.take_loss(loss);
  const double floor = std::max(norm_of_all(reference) / 1000, 1e-30);
  for (size_t s = 0; s < model.stages.size(); ++s) {
    if (!reference.flat[s].defined()) continue;
    const models::Stage& stage = model.stages[s];
    for (const models::Parameter& parameter : stage.parameters) {
      if (!parameter.grad.defined()) continue;
      const at::Tensor a = view_of_parameter(stage, parameter, variant.flat[s]);
      const at::Tensor b = view_of_parameter(stage, parameter, reference.flat[s]);
      const double apart = norm_of(a.to(at::kDouble) - b.to(at::kDouble));
      difference.take_gradient(apart / std::max(norm_of(b), floor), parameter.name);
    }
  }
}

void apply(models::Model& model, OptimizerState& optimizer, const StepGradients& gradients,
           const InvarianceOptions& options) {
  const at::NoGradGuard no_grad;
  for (size_t s = 0; s < model.stages.size(); ++s) {
    if (gradients.flat[s].defined()) model.stages[s].grads.copy_(gradients.flat[s]);
  }
  update_parameters(model, optimizer, options.optimizer, options.learning_rate,
                    clip_factor(gradient_norm(model), options.optimizer.max_grad_norm));
}

}  // namespace

void VariantDifference::take_loss(double difference) {
  if (is_larger(difference, loss)) loss = difference;
}

void VariantDifference::take_gradient(double difference, const std::string& of_tensor) {
  if (!is_larger(difference, gradient)) return;
  gradient = difference;
  tensor = of_tensor;
}

std::vector<VariantDifference> compare_variants(models::Model& model,
                                                const std::vector<std::vector<StepVariant>>& steps,
                                                const InvarianceOptions& options) {
  OptimizerState optimizer = make_optimizer_state(model);
  std::vector<VariantDifference> differences;
  for (size_t step = 0; step < steps.size(); ++step) {
    const std::vector<StepVariant>& variants = steps[step];
    std::vector<StepGradients> gradients;
    for (size_t v = 0; v < variants.size(); ++v) {
      gradients.push_back(
          run_variant(model, optimizer, variants[v], static_cast<int64_t>(step), options.seed));
      if (v == 0) continue;
      if (step == 0) {
        differences.push_back({.name = variants[v].name,
                               .against = variants[variants[v].against].name,
                               .loss_bound = variants[v].bound,
                               .bound = variants[v].bound});
      }
      take_larger(model, gradients[v], gradients[variants[v].against], differences[v - 1]);
    }
    apply(model, optimizer, gradients.front(), options);
  }
  return differences;
}

std::vector<StepVariant> standard_variants(const std::vector<data::MicroBatch>& micro_batches,
                                           int64_t length, int32_t pad_id, double bound) {
  const std::vector<data::MicroBatch> documents = split_documents(micro_batches);
  std::vector<data::MicroBatch> padded;
  for (const data::MicroBatch& document : documents)
    padded.push_back(pad_document(document, length, pad_id));
  return {{.name = "packed, accumulated", .micro_batches = micro_batches},
          {.name = "one micro-batch",
           .micro_batches = {merge_micro_batches(micro_batches)},
           .bound = bound},
          {.name = "a document a micro-batch", .micro_batches = documents, .bound = bound},
          {.name = "that, padded", .micro_batches = padded, .bound = bound},
          {.name = "recompute", .micro_batches = micro_batches, .recompute = true}};
}

}  // namespace hone::trainer
