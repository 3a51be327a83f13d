// AdamW over the stages' flat buffers.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "models/model.h"
#include "trainer/options.h"

namespace hone::trainer {

// First and second moments, one flat float32 buffer a stage, laid out as the stage's `trainable`.
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

// Euclidean norm of all gradients, summed in float64 in stage order; non-finite if any element is.
double gradient_norm(const models::Model& model);

// min(1, max_norm / (norm + 1e-6)) as torch.nn.utils.clip_grad_norm_; 1 when max_norm is 0.
double clip_factor(double norm, double max_norm);

// One AdamW update of every stage. Weight decay skips one-dimensional tensors (norms, biases)
// unless told otherwise.
void update_parameters(models::Model& model, OptimizerState& state, const OptimizerOptions& options,
                       double learning_rate, double grad_scale);

}  // namespace hone::trainer
