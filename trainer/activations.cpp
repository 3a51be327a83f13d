#include "trainer/activations.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <utility>

#include "core/error.h"

namespace hone::trainer {

using parallel::Keep;

models::ForwardContext training_context(uint64_t seed, int64_t step, int64_t index) {
  // A step never has 2^24 micro-batches, so every micro-batch of a run has a number of its own.
  return {.training = true,
          .seed = seed,
          .micro_step = (static_cast<uint64_t>(step) << 24) | static_cast<uint64_t>(index)};
}

Activations::MicroBatch& Activations::of(int64_t index) {
  const auto found = under_way_.find(index);
  if (found != under_way_.end()) return found->second;
  return under_way_[index] = {.batch = make_batch_(index),
                              .context = training_context(seed_, step_, index)};
}

at::Tensor Activations::buffer(int64_t micro_batch) {
  return at::empty({of(micro_batch).batch.num_rows, model_.spec.hidden_size},
                   at::TensorOptions().dtype(model_.compute_dtype).device(model_.device));
}

void Activations::forward(int64_t stage, int64_t index, Keep keep) {
  MicroBatch& micro_batch = of(index);
  if (keep == Keep::kGraph) {
    run_under_autograd(stage, micro_batch.running_TD, micro_batch);
    micro_batch.running_TD = micro_batch.outputs[stage].detach();
    return;
  }
  if (keep == Keep::kInput) micro_batch.inputs[stage] = micro_batch.running_TD;
  const at::NoGradGuard no_grad;
  micro_batch.running_TD =
      stage_at(stage).forward(micro_batch.running_TD, micro_batch.batch, micro_batch.context);
}

// Leaves the input, cut off from what made it, and the output with the graph between them.
void Activations::run_under_autograd(int64_t stage, const at::Tensor& input_TD,
                                     MicroBatch& micro_batch) {
  const at::AutoGradMode with_grad(true);
  at::Tensor& input = micro_batch.inputs[stage];
  input = input_TD.defined() ? input_TD.detach().requires_grad_(true) : input_TD;
  micro_batch.outputs[stage] =
      stage_at(stage).forward(input, micro_batch.batch, micro_batch.context);
}

kernels::HeadLoss Activations::loss(int64_t index, double loss_scale) {
  const at::NoGradGuard no_grad;
  MicroBatch& micro_batch = of(index);
  kernels::HeadLoss loss =
      model_.head(micro_batch.running_TD, micro_batch.batch, loss_scale, true, micro_batch.context);
  micro_batch.running_TD = loss.grad_x_TD;
  return loss;
}

void Activations::recompute(int64_t stage, int64_t index) {
  MicroBatch& micro_batch = of(index);
  const at::Tensor input_TD = micro_batch.inputs[stage];
  run_under_autograd(stage, input_TD, micro_batch);
}

void Activations::backward(int64_t stage, int64_t index) {
  MicroBatch& micro_batch = of(index);
  const at::Tensor output_TD = micro_batch.outputs.extract(stage).mapped();
  const at::Tensor input_TD = micro_batch.inputs.extract(stage).mapped();
  if (!output_TD.requires_grad()) {
    core::fail(
        core::ErrorKind::kInternal,
        {.what = "the stage has trainable parameters but no graph", .where = stage_at(stage).name});
  }
  torch::autograd::backward({output_TD}, {micro_batch.running_TD});
  micro_batch.running_TD = input_TD.defined() ? input_TD.grad() : at::Tensor();
}

}  // namespace hone::trainer
