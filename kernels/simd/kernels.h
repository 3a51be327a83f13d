// The table of the instruction set this unit is compiled for; included by exactly one unit per
// instruction set.
#pragma once

#include "kernels/simd/attention.h"
#include "kernels/simd/cross_entropy.h"
#include "kernels/simd/elementwise.h"
#include "kernels/simd/optimizer.h"

namespace hone::kernels {
namespace {

template <typename T>
constexpr TypedKernels<T> kTyped = {&rms_norm_forward<T>, &rms_norm_backward<T>,
                                    &swiglu_forward<T>,   &swiglu_backward<T>,
                                    &rope_forward<T>,     &rope_backward<T>,
                                    &row_dots<T>,         &cross_entropy<T>,
                                    &log_sums<T>,         &cross_entropy_gradient<T>,
                                    &dropout<T>,          &add_bias<T>,
                                    &add_columns<T>,      &accumulate<T>};

constexpr KernelTable make_table(const char* name) {
  return {name,
          kTyped<float>,
          kTyped<Bf16>,
          &transpose_block,
          &attention_forward,
          &attention_backward,
          &sum_slabs,
          &adamw,
          &sum_of_squares};
}

}  // namespace
}  // namespace hone::kernels
