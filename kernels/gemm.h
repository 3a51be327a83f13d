// Matrix products of the linear layers.
#pragma once

#include <ATen/ATen.h>

namespace hone::kernels {

// a_MK b_NK^T
at::Tensor matmul_nt(const at::Tensor& a_MK, const at::Tensor& b_NK);
// a_MK b_KN
at::Tensor matmul_nn(const at::Tensor& a_MK, const at::Tensor& b_KN);
// out_MN += scale * a_MK b_NK^T, a_MK b_KN, a_KM^T b_KN. `out` may be float32 where a and b are bfloat16.
void add_matmul_nt(const at::Tensor& out_MN, const at::Tensor& a_MK, const at::Tensor& b_NK,
                   double scale = 1.0);
void add_matmul_nn(const at::Tensor& out_MN, const at::Tensor& a_MK, const at::Tensor& b_KN,
                   double scale = 1.0);
void add_matmul_tn(const at::Tensor& out_MN, const at::Tensor& a_KM, const at::Tensor& b_KN,
                   double scale = 1.0);

}  // namespace hone::kernels
