// Matrix products of the linear layers, by whichever implementation suits this processor.
#pragma once

#include <ATen/ATen.h>

namespace hone::kernels {

// kLibrary: the one LibTorch brings (MKL). kOwnAvx512: simd/gemm_avx512.h, about twice as fast on
// AMD processors with AVX-512, where MKL takes its AVX2 path.
enum class GemmRoute { kLibrary, kOwnAvx512 };

// Decided once per process from the processor; HONE_GEMM=library|own overrides (own only where it
// can run).
GemmRoute gemm_route();

// a_MK b_KN, or c_MN (+)= a_MK b_KN; operands may be transposed views. Products our kernel does not
// take (other dtypes, strided both ways, too small) go to LibTorch.
at::Tensor gemm(const at::Tensor& a_MK, const at::Tensor& b_KN);
void gemm(const at::Tensor& c_MN, const at::Tensor& a_MK, const at::Tensor& b_KN, bool accumulate);

// a_MK b_NK^T
at::Tensor matmul_nt(const at::Tensor& a_MK, const at::Tensor& b_NK);
// a_MK b_KN
at::Tensor matmul_nn(const at::Tensor& a_MK, const at::Tensor& b_KN);
// out_MN += scale * a_MK b_NK^T, a_MK b_KN, a_KM^T b_KN. `out` may be float32 where a and b are
// bfloat16.
void add_matmul_nt(const at::Tensor& out_MN, const at::Tensor& a_MK, const at::Tensor& b_NK,
                   double scale = 1.0);
void add_matmul_nn(const at::Tensor& out_MN, const at::Tensor& a_MK, const at::Tensor& b_KN,
                   double scale = 1.0);
void add_matmul_tn(const at::Tensor& out_MN, const at::Tensor& a_KM, const at::Tensor& b_KN,
                   double scale = 1.0);

}  // namespace hone::kernels
