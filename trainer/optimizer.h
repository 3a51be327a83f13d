// AdamW over the stages' flat buffers.
#pragma once

#include <ATen/ATen.h>

#include <span>
#include <string>
#include <vector>

#include "models/model.h"
#include "trainer/options.h"

namespace hone::trainer {

// First and second moments, one flat float32 buffer a stage, laid out as the stage's
// `kept.trainable`.
struct OptimizerState {
  std::vector<at::Tensor> exp_avg, exp_avg_sq;
  int64_t num_updates = 0;
};

OptimizerState make_optimizer_state(const models::Model& model);  // zeros
int64_t optimizer_bytes(const OptimizerState& state);

// The part of a flat buffer that mirrors `stage.trainable` which belongs to one trainable
// parameter, in its shape.
at::Tensor view_of_parameter(const models::Stage& stage, const models::Parameter& parameter,
                             const at::Tensor& flat);

// The elements of a rank's part that belong to one trainable parameter.
struct ParameterPart {
  int64_t begin = 0;   // in the parameter
  int64_t offset = 0;  // in a buffer laid out as KeptPart::trainable
  int64_t size = 0;    // 0: this rank keeps nothing of it
};
ParameterPart kept_part_of(const models::Stage& stage, const models::Parameter& parameter);

// Sums of squares in float64 of the gradients that this rank keeps, in kNormLeaves equal leaves of
// every stage; 0 for what it does not keep. Over 1, 2, 4, ... up to kNormLeaves ranks each leaf is
// of one rank, so leaves summed over ranks have the same bits on any of them.
inline constexpr int64_t kNormLeaves = 64;
std::vector<double> gradient_squares(const models::Model& model);
// The square root of their sum in order; non-finite if any element is.
double norm_of_squares(std::span<const double> squares);

// Euclidean norm of all gradients of a model that is not sharded.
double gradient_norm(const models::Model& model);

// min(1, max_norm / (norm + 1e-6)) as torch.nn.utils.clip_grad_norm_; 1 when max_norm is 0.
double clip_factor(double norm, double max_norm);

// One AdamW update of what this rank keeps of every stage, and of its compute copies. Weight decay
// skips one-dimensional tensors (norms, biases) unless told otherwise.
void update_parameters(models::Model& model, OptimizerState& state, const OptimizerOptions& options,
                       double learning_rate, double grad_scale);

}  // namespace hone::trainer
