// The low-rank terms of a fused projection (Hu et al., arXiv:2106.09685), forward and backward.
#pragma once

#include <vector>

#include "kernels/ops.h"

namespace hone::kernels {

// x A^T of every adapter, side by side [T, sum of R]: what the backward needs.
at::Tensor lora_down(const at::Tensor& x_TD, const std::vector<Lora>& loras);

// y_TO columns of each adapter += scale * down B^T.
void add_lora(const at::Tensor& y_TO, const at::Tensor& down_TR, const std::vector<Lora>& loras);

// Adds gradients of A and B, and the adapters' share of the input's gradient to dx_TD if that is
// defined.
void lora_backward(const at::Tensor& g_TO, const at::Tensor& x_TD, const at::Tensor& down_TR,
                   const std::vector<Lora>& loras, at::Tensor& dx_TD);

bool any_trainable(const std::vector<Lora>& loras);

}  // namespace hone::kernels
