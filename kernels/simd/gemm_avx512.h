// The AVX-512 matrix multiplication. Includes no LibTorch header: this unit is compiled for AVX-512
// alone.
#pragma once

#include <cstdint>

namespace hone::kernels {

// A strided matrix of floats: element (i, j) is at data[i * row_stride + j * column_stride].
struct ConstMatrix {
  const float* data;
  int64_t rows, columns, row_stride, column_stride;
};

// c (rows of ldc floats) (+)= a b, on the calling OpenMP team's threads. One of each operand's
// strides should be 1. `scratch` holds gemm_avx512_scratch(b.columns, threads) floats, 64-byte
// aligned. Blocking and packing follow Goto and van de Geijn, "Anatomy of high-performance matrix
// multiplication" (ACM TOMS 2008).
void gemm_avx512(const ConstMatrix& a_MK, const ConstMatrix& b_KN, float* c, int64_t ldc,
                 bool accumulate, float* scratch, int num_threads);
int64_t gemm_avx512_scratch(int64_t columns, int num_threads);

}  // namespace hone::kernels
