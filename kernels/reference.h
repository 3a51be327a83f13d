// The operators of ops.h in plain ATen with autograd: for tensors our kernels don't take (CUDA,
// float64), and the oracle of the tests.
#pragma once

#include "kernels/ops.h"

namespace hone::kernels::reference {

at::Tensor linear(const at::Tensor& x_TD, const Weight& w_OD, const Weight& bias_O,
                  const std::vector<Lora>& loras);
at::Tensor rms_norm(const at::Tensor& x_TD, const Weight& w_D, double eps);
std::pair<at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& x_TD,
                                               const at::Tensor& residual_TD, const Weight& w_D,
                                               double eps);
at::Tensor swiglu(const at::Tensor& gate_up_T2F);
at::Tensor attention(const at::Tensor& qkv_TC, const at::Tensor& cos_TN2, const at::Tensor& sin_TN2,
                     const std::vector<int32_t>& cu_doc_lens, const AttentionShape& shape,
                     const Weight& q_norm_N, const Weight& k_norm_N, double norm_eps);
at::Tensor embedding(const at::Tensor& ids_T, const Weight& w_VD);
HeadLoss head_loss(const at::Tensor& x_TD, const Weight& w_VD, const at::Tensor& labels_T,
                   double loss_scale, bool want_grad, const std::vector<Lora>& loras,
                   const VocabShard* shard = nullptr);

}  // namespace hone::kernels::reference
