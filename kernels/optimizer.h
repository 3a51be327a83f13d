// Optimizer arithmetic on flat float32 buffers.
#pragma once

#include <ATen/ATen.h>

namespace hone::kernels {

struct AdamW {
  double learning_rate = 0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  int64_t step = 1;         // 1 for the first update (bias correction)
  double grad_scale = 1.0;  // the clipping factor, folded in
};

// One AdamW update (Loshchilov & Hutter, arXiv:1711.05101) of equal flat buffers, in place, as
// torch.optim.AdamW: decay first, then m, v, and p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 -
// beta2^t) + eps).
void adamw_update(const AdamW& options, at::Tensor& param, const at::Tensor& grad,
                  at::Tensor& exp_avg, at::Tensor& exp_avg_sq);

// Sum of squares in float64, over fixed chunks added in a fixed order: the same bits for any number
// of threads. A non-finite element gives a non-finite sum.
double sum_of_squares(const at::Tensor& flat);

}  // namespace hone::kernels
