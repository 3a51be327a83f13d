// Cross-entropy, over a whole vocabulary in one pass or over a part of it in two: bodies for one
// instruction set.
#pragma once

#include <limits>

#include "kernels/simd/vec.h"

namespace hone::kernels {
namespace {

// The sum of exp(x - top).
struct ExpSum {
  float top;
  double total;
  double log() const { return std::log(total) + static_cast<double>(top); }
};

template <typename T>
inline ExpSum exp_sum(const T* row, int64_t vocab) {
  VecF highest = broadcast(scalar(row));
  int64_t v = 0;
  for (; v + kLanes <= vocab; v += kLanes) highest = max_of(load(row + v), highest);
  float top = max_lanes(highest);
  for (; v < vocab; ++v) top = scalar(row + v) > top ? scalar(row + v) : top;
  double total = 0;
  VecF sum{};
  for (v = 0; v < vocab; v += kLanes) {
    const int64_t n = vocab - v;
    VecF e = exp_of(load_n(row + v, n) - top);
    if (n < kLanes) e = lane_numbers() < static_cast<float>(n) ? e : VecF{};
    sum = sum + e;
    if (v % (kLanes * 64) == 0) {  // spill to float64 now and then: vocabularies are long
      total += static_cast<double>(sum_lanes(sum));
      sum = VecF{};
    }
  }
  return {top, total + static_cast<double>(sum_lanes(sum))};
}

template <typename T>
inline void scale_exps(T* row, int64_t vocab, float top, float factor) {
  for (int64_t v = 0; v < vocab; v += kLanes) {
    const int64_t n = vocab - v;
    store_n(row + v, exp_of(load_n(row + v, n) - top) * factor, n);
  }
}

inline float label_gradient(float logit, double log_sum, float grad_scale) {
  const double probability = std::exp(static_cast<double>(logit) - log_sum);
  return static_cast<float>((probability - 1.0) * static_cast<double>(grad_scale));
}

template <typename T>
void cross_entropy(T* logits, const int64_t* labels, int64_t rows, int64_t vocab, float grad_scale,
                   bool want_grad, double* losses) {
  for (int64_t t = 0; t < rows; ++t) {
    T* row = logits + t * vocab;
    const ExpSum sum = exp_sum(row, vocab);
    const double log_sum = sum.log();
    const float label_logit = scalar(row + labels[t]);
    losses[t] = log_sum - static_cast<double>(label_logit);
    if (!want_grad) continue;
    const float factor = static_cast<float>(static_cast<double>(grad_scale) / sum.total);
    scale_exps(row, vocab, sum.top, factor);
    set_scalar(row + labels[t], label_gradient(label_logit, log_sum, grad_scale));
  }
}

template <typename T>
void log_sums(const T* logits, const int64_t* labels, int64_t rows, int64_t vocab, double* pairs) {
  for (int64_t t = 0; t < rows; ++t) {
    const T* row = logits + t * vocab;
    pairs[2 * t] = vocab > 0 ? exp_sum(row, vocab).log() : -std::numeric_limits<double>::infinity();
    pairs[2 * t + 1] = labels[t] < 0 ? 0.0 : static_cast<double>(scalar(row + labels[t]));
  }
}

template <typename T>
void cross_entropy_gradient(T* logits, const int64_t* labels, int64_t rows, int64_t vocab,
                            float grad_scale, const double* whole_log_sums) {
  for (int64_t t = 0; t < rows; ++t) {
    T* row = logits + t * vocab;
    const float label_logit = labels[t] < 0 ? 0.0f : scalar(row + labels[t]);
    // What rounding the log-sum to a float takes from it goes into the factor.
    const float rounded = static_cast<float>(whole_log_sums[t]);
    const double factor = std::exp(static_cast<double>(rounded) - whole_log_sums[t]);
    scale_exps(row, vocab, rounded, static_cast<float>(factor * static_cast<double>(grad_scale)));
    if (labels[t] >= 0) {
      set_scalar(row + labels[t], label_gradient(label_logit, whole_log_sums[t], grad_scale));
    }
  }
}

}  // namespace
}  // namespace hone::kernels
