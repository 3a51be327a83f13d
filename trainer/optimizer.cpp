#include "trainer/optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/allocator.h"
#include "kernels/optimizer.h"
#include "models/load.h"

namespace hone::trainer {
namespace {

// A run of flat elements with the same weight decay.
struct Segment {
  int64_t begin = 0, end = 0;
  bool decays = false;
};

// Of what the rank keeps, in its coordinates.
std::vector<Segment> decay_segments(const models::Stage& stage, bool decay_all) {
  std::vector<Segment> segments;
  for (const models::Parameter& parameter : stage.parameters) {
    if (!parameter.grad.defined()) continue;
    const ParameterPart part = kept_part_of(stage, parameter);
    if (part.size == 0) continue;
    const bool decays = decay_all || parameter.shape.size() > 1;
    const int64_t end = part.offset + part.size;
    if (!segments.empty() && segments.back().decays == decays &&
        segments.back().end <= part.offset) {
      segments.back().end = end;
    } else {
      segments.push_back({part.offset, end, decays});
    }
  }
  return segments;
}

// Of the flat trainable elements, those that no other rank of the tensor and pipeline axes counts;
// all of them on one rank.
std::vector<parallel::ElementRange> owned_ranges(const models::Stage& stage) {
  std::vector<parallel::ElementRange> ranges;
  if (stage.is_copy) return ranges;
  for (const models::Parameter& parameter : stage.parameters) {
    if (!parameter.grad.defined() || parameter.grad.numel() == 0) continue;
    const int64_t offset = models::offset_in_stage(stage, parameter);
    auto owned = parallel::owned_elements(parameter.shape, parameter.slice);
    owned = {owned.begin + offset, owned.end + offset};
    if (owned.size() == 0) continue;
    if (!ranges.empty() && ranges.back().end == owned.begin) {
      ranges.back().end = owned.end;
    } else {
      ranges.push_back(owned);
    }
  }
  return ranges;
}

}  // namespace

OptimizerState make_optimizer_state(const models::Model& model) {
  OptimizerState state;
  for (const models::Stage& stage : model.stages) {
    const at::Tensor& kept = stage.kept.trainable;
    const bool has_any = stage.trainable.defined() && stage.trainable.numel() > 0;
    for (auto* moments : {&state.exp_avg, &state.exp_avg_sq}) {
      moments->push_back(has_any ? kernels::lazy_zeros(kept.numel(), kept.device()) : at::Tensor());
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
  return flat.narrow(0, models::offset_in_stage(stage, parameter), parameter.value.numel())
      .view(parameter.value.sizes());
}

ParameterPart kept_part_of(const models::Stage& stage, const models::Parameter& parameter) {
  const int64_t begin = models::offset_in_stage(stage, parameter);
  const auto part = parallel::intersect({begin, begin + parameter.value.numel()}, stage.kept.range);
  if (part.size() == 0) return {};
  return {part.begin - begin, part.begin - stage.kept.range.begin, part.size()};
}

std::vector<double> gradient_squares(const models::Model& model) {
  std::vector<double> squares(model.stages.size() * kNormLeaves);
  for (size_t i = 0; i < model.stages.size(); ++i) {
    const models::Stage& stage = model.stages[i];
    if (!stage.kept.grads.defined()) continue;
    const parallel::ElementRange& range = stage.kept.range;
    const std::vector<parallel::ElementRange> owned = owned_ranges(stage);
    for (int64_t leaf = 0; leaf < kNormLeaves; ++leaf) {
      const auto part =
          parallel::intersect(parallel::part_of(stage.grads.numel(), leaf, kNormLeaves), range);
      for (const parallel::ElementRange& counted : owned) {
        const auto own = parallel::intersect(part, counted);
        if (own.size() == 0) continue;
        squares[i * kNormLeaves + static_cast<size_t>(leaf)] += kernels::sum_of_squares(
            stage.kept.grads.narrow(0, own.begin - range.begin, own.size()));
      }
    }
  }
  return squares;
}

double norm_of_squares(std::span<const double> squares) {
  double sum = 0;
  for (const double square : squares) sum += square;
  return std::sqrt(sum);
}

double gradient_norm(const models::Model& model) {
  return norm_of_squares(gradient_squares(model));
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
      at::Tensor param = part(stage.kept.trainable), exp_avg = part(state.exp_avg[i]);
      at::Tensor exp_avg_sq = part(state.exp_avg_sq[i]);
      kernels::adamw_update({.learning_rate = learning_rate,
                             .beta1 = options.adam_beta1,
                             .beta2 = options.adam_beta2,
                             .epsilon = options.adam_epsilon,
                             .weight_decay = segment.decays ? options.weight_decay : 0.0,
                             .step = state.num_updates,
                             .grad_scale = grad_scale},
                            param, part(stage.kept.grads), exp_avg, exp_avg_sq);
    }
  }
  models::refresh_compute_weights(model);
}

}  // namespace hone::trainer
