// AdamW and sum of squares: bodies for one instruction set.
#pragma once

#include "kernels/simd/vec.h"

namespace hone::kernels {
namespace {

void adamw(const AdamWConstants& k, float* p, const float* g, float* m, float* v, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float grad = g[i] * k.grad_scale;
    const float first = k.beta1 * m[i] + k.one_minus_beta1 * grad;
    const float second = k.beta2 * v[i] + k.one_minus_beta2 * grad * grad;
    m[i] = first;
    v[i] = second;
    const float denominator = std::sqrt(second) * k.inverse_correction2_sqrt + k.epsilon;
    p[i] = p[i] * k.decay - k.step_size * first / denominator;
  }
}

// Sixteen float64 lanes whatever the registers: squares of floats are exact in float64, so every
// unit gives the same bits.
double sum_of_squares(const float* x, int64_t count) {
  constexpr int kWide = 16;
  double lanes[kWide] = {};
  int64_t i = 0;
  for (; i + kWide <= count; i += kWide) {
    for (int j = 0; j < kWide; ++j) {
      lanes[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
    }
  }
  for (; i < count; ++i) {
    lanes[i % kWide] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  for (int width = kWide / 2; width > 0; width /= 2) {
    for (int j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  }
  return lanes[0];
}

}  // namespace
}  // namespace hone::kernels
