#include "trainer/optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/allocator.h"
#include "kernels/optimizer.h"

namespace hone::trainer {
namespace {

// A run of flat elements with the same weight decay.
struct Segment {
  int64_t begin = 0, end = 0;
  bool decays = false;
};

int64_t offset_in_stage(const models::Stage& stage, const models::Parameter& parameter) {
  return parameter.value.storage_offset() - stage.trainable.storage_offset();
}

std::vector<Segment> decay_segments(const models::Stage& stage, bool decay_all) {
  std::vector<Segment> segments;
  for (const models::Parameter& parameter : stage.parameters) {
    if (!parameter.grad.defined()) continue;
    const bool decays = decay_all || parameter.shape.size() > 1;
    const int64_t begin = offset_in_stage(stage, parameter);
    const int64_t end = begin + parameter.value.numel();
    if (!segments.empty() && segments.back().decays == decays && segments.back().end <= begin) {
      segments.back().end = end;
    } else {
      segments.push_back({begin, end, decays});
    }
  }
  return segments;
}

}  // namespace

OptimizerState make_optimizer_state(const models::Model& model) {
  OptimizerState state;
  for (const models::Stage& stage : model.stages) {
    const bool has_any = stage.trainable.defined() && stage.trainable.numel() > 0;
    for (auto* moments : {&state.exp_avg, &state.exp_avg_sq}) {
      moments->push_back(
          has_any ? kernels::lazy_zeros(stage.trainable.numel(), stage.trainable.device())
                  : at::Tensor());
    }
  }
  return state;
}

int64_t optimizer_bytes(const OptimizerState& state) {
  int64_t bytes = 0;
  for (const auto* moments : {&state.exp_avg, &state.exp_avg_sq}) {
    for (const at::Tensor& flat : *moments)
      bytes += flat.defined() ? static_cast<int64_t>(flat.nbytes()) : 0;
  }
  return bytes;
}

at::Tensor view_of_parameter(const models::Stage& stage, const models::Parameter& parameter,
                             const at::Tensor& flat) {
  return flat.narrow(0, offset_in_stage(stage, parameter), parameter.value.numel())
      .view(parameter.shape);
}

double gradient_norm(const models::Model& model) {
  double sum = 0;
  for (const models::Stage& stage : model.stages) {
    if (stage.grads.defined() && stage.grads.numel() > 0)
      sum += kernels::sum_of_squares(stage.grads);
  }
  return std::sqrt(sum);
}

double clip_factor(double norm, double max_norm) {
  return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

void update_parameters(models::Model& model, OptimizerState& state, const OptimizerOptions& options,
                       double learning_rate, double grad_scale) {
  ++state.num_updates;
  for (size_t i = 0; i < model.stages.size(); ++i) {
    models::Stage& stage = model.stages[i];
    for (const Segment& segment : decay_segments(stage, options.decay_one_dimensional)) {
      const auto part = [&](const at::Tensor& flat) {
        return flat.narrow(0, segment.begin, segment.end - segment.begin);
      };
      at::Tensor param = part(stage.trainable), exp_avg = part(state.exp_avg[i]);
      at::Tensor exp_avg_sq = part(state.exp_avg_sq[i]);
      kernels::adamw_update({.learning_rate = learning_rate,
                             .beta1 = options.adam_beta1,
                             .beta2 = options.adam_beta2,
                             .epsilon = options.adam_epsilon,
                             .weight_decay = segment.decays ? options.weight_decay : 0.0,
                             .step = state.num_updates,
                             .grad_scale = grad_scale},
                            param, part(stage.grads), exp_avg, exp_avg_sq);
    }
  }
  if (model.refresh_compute_weights) model.refresh_compute_weights();
}

}  // namespace hone::trainer
