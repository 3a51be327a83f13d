// RMSNorm, SwiGLU, RoPE, dropout: bodies for one instruction set.
#pragma once

#include "kernels/simd/vec.h"

namespace hone::kernels {
namespace {

template <typename T>
void rms_norm_forward(const T* x, const T* residual, const T* w, T* h, T* y, float* rstd,
                      int64_t rows, int64_t dim, float eps) {
  for (int64_t t = 0; t < rows; ++t) {
    const T* row = x + t * dim;
    if (residual != nullptr) {
      for (int64_t d = 0; d < dim; d += kLanes) {
        const int64_t n = dim - d;
        store_n(h + t * dim + d, load_n(row + d, n) + load_n(residual + t * dim + d, n), n);
      }
      row = h + t * dim;
    }
    VecF squares{};
    for (int64_t d = 0; d < dim; d += kLanes) {
      const VecF v = load_n(row + d, dim - d);
      squares = squares + v * v;
    }
    const float r = 1.0f / std::sqrt(sum_lanes(squares) / static_cast<float>(dim) + eps);
    rstd[t] = r;
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = dim - d;
      store_n(y + t * dim + d, load_n(row + d, n) * r * load_n(w + d, n), n);
    }
  }
}

template <typename T>
void rms_norm_backward(const T* x, const T* w, const float* rstd, const T* gy, const T* gh, T* dx,
                       float* dw, int64_t rows, int64_t dim) {
  for (int64_t t = 0; t < rows; ++t) {
    const int64_t at = t * dim;
    VecF dot{};
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = dim - d;
      dot = dot + load_n(gy + at + d, n) * load_n(w + d, n) * load_n(x + at + d, n);
    }
    const float r = rstd[t];
    const float pull = sum_lanes(dot) * r * r * r / static_cast<float>(dim);
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = dim - d;
      const VecF g = load_n(gy + at + d, n), value = load_n(x + at + d, n);
      VecF grad = g * load_n(w + d, n) * r - value * pull;
      if (gh != nullptr) grad = grad + load_n(gh + at + d, n);
      store_n(dx + at + d, grad, n);
      if (dw != nullptr) store_n(dw + d, load_n(dw + d, n) + g * value * r, n);
    }
  }
}

template <typename T>
void swiglu_forward(const T* gate_up, T* y, int64_t rows, int64_t width) {
  for (int64_t t = 0; t < rows; ++t) {
    const T *gate = gate_up + 2 * t * width, *up = gate + width;
    for (int64_t f = 0; f < width; f += kLanes) {
      const int64_t n = width - f;
      const VecF g = load_n(gate + f, n);
      store_n(y + t * width + f, g / (1.0f + exp_of(-g)) * load_n(up + f, n), n);
    }
  }
}

template <typename T>
void swiglu_backward(const T* gate_up, const T* gy, T* grad, int64_t rows, int64_t width) {
  for (int64_t t = 0; t < rows; ++t) {
    const T *gate = gate_up + 2 * t * width, *up = gate + width;
    T *dgate = grad + 2 * t * width, *dup = dgate + width;
    for (int64_t f = 0; f < width; f += kLanes) {
      const int64_t n = width - f;
      const VecF g = load_n(gate + f, n), u = load_n(up + f, n), d = load_n(gy + t * width + f, n);
      const VecF sigmoid = 1.0f / (1.0f + exp_of(-g));
      const VecF silu = g * sigmoid;
      store_n(dgate + f, d * u * (sigmoid + silu * (1.0f - sigmoid)), n);
      store_n(dup + f, d * silu, n);
    }
  }
}

// 1 / rms of a head, and the head itself as floats.
template <typename T>
inline float read_head(const RopeRows& shape, const T* src, float* head) {
  const int64_t dim = shape.head_dim;
  VecF squares{};
  for (int64_t d = 0; d < dim; d += kLanes) {
    const VecF v = load_n(src + d, dim - d);
    squares = squares + v * v;
    store_n(head + d, v, dim - d);
  }
  if (shape.norm_w == nullptr) return 1.0f;
  return 1.0f / std::sqrt(sum_lanes(squares) / static_cast<float>(dim) + shape.norm_eps);
}

template <typename T>
void rope_forward(const RopeRows& shape, const T* src, int64_t src_stride, float* dst) {
  const int64_t dim = shape.head_dim, half = dim / 2;
  for (int64_t t = 0; t < shape.rows; ++t) {
    float* head = dst + t * shape.padded_dim;
    const float r = read_head(shape, src + t * src_stride, head);
    for (int64_t d = dim; d < shape.padded_dim; ++d) head[d] = 0.0f;
    if (shape.norm_w != nullptr) {
      for (int64_t d = 0; d < dim; ++d) head[d] = head[d] * r * shape.norm_w[d];
    }
    if (shape.cos == nullptr) continue;
    const float *cos = shape.cos + t * half, *sin = shape.sin + t * half;
    for (int64_t i = 0; i < half; i += kLanes) {
      const int64_t n = half - i;
      const VecF a = load_n(head + i, n), b = load_n(head + half + i, n);
      const VecF c = load_n(cos + i, n), s = load_n(sin + i, n);
      store_n(head + i, a * c - b * s, n);
      store_n(head + half + i, b * c + a * s, n);
    }
  }
}

// The gradient of one head's RMSNorm, in place.
inline void head_norm_backward(const RopeRows& shape, const float* value, float r, float* grad,
                               float* dnorm_w) {
  float dot = 0;
  for (int64_t d = 0; d < shape.head_dim; ++d) dot += grad[d] * shape.norm_w[d] * value[d];
  const float pull = dot * r * r * r / static_cast<float>(shape.head_dim);
  for (int64_t d = 0; d < shape.head_dim; ++d) {
    if (dnorm_w != nullptr) dnorm_w[d] += grad[d] * value[d] * r;
    grad[d] = grad[d] * shape.norm_w[d] * r - value[d] * pull;
  }
}

template <typename T>
void rope_backward(const RopeRows& shape, const float* grad, const T* src, int64_t src_stride,
                   T* dst, int64_t dst_stride, float* dnorm_w) {
  constexpr int64_t kMaxHeadDim = 1024;
  float out[kMaxHeadDim], value[kMaxHeadDim];
  const int64_t dim = shape.head_dim, half = dim / 2;
  for (int64_t t = 0; t < shape.rows; ++t) {
    const float* g = grad + t * shape.padded_dim;
    std::memcpy(out, g, static_cast<size_t>(dim) * sizeof(float));
    if (shape.cos != nullptr) {
      const float *cos = shape.cos + t * half, *sin = shape.sin + t * half;
      for (int64_t i = 0; i < half; i += kLanes) {
        const int64_t n = half - i;
        const VecF a = load_n(g + i, n), b = load_n(g + half + i, n);
        const VecF c = load_n(cos + i, n), s = load_n(sin + i, n);
        store_n(out + i, a * c + b * s, n);
        store_n(out + half + i, b * c - a * s, n);
      }
    }
    if (shape.norm_w != nullptr) {
      const float r = read_head(shape, src + t * src_stride, value);
      head_norm_backward(shape, value, r, out, dnorm_w);
    }
    for (int64_t d = 0; d < dim; d += kLanes) {
      store_n(dst + t * dst_stride + d, load_n(out + d, dim - d), dim - d);
    }
  }
}

template <typename T>
void row_dots(const T* a, const T* b, int64_t stride, int64_t rows, int64_t dim, float* out) {
  for (int64_t t = 0; t < rows; ++t) {
    VecF sum{};
    for (int64_t d = 0; d < dim; d += kLanes) {
      sum = sum + load_n(a + t * stride + d, dim - d) * load_n(b + t * stride + d, dim - d);
    }
    out[t] = sum_lanes(sum);
  }
}

// Low and high halves of the 64-bit products of every lane with `factor`.
struct WideProduct {
  VecU low, high;
};
inline WideProduct multiply_wide(VecU x, uint32_t factor) {
  const VecU factors = VecU{} + factor;
  const VecL even = multiply_even(x, factors);
  const VecL odd = multiply_even(reinterpret_cast<VecU>(reinterpret_cast<VecL>(x) >> 32), factors);
  constexpr uint64_t kLowHalf = 0xFFFFFFFF;
  return {reinterpret_cast<VecU>((even & kLowHalf) | (odd << 32)),
          reinterpret_cast<VecU>((even >> 32) | (odd & ~kLowHalf))};
}

// Ten rounds of Philox4x32 (core/rng.h) on sixteen counters from `first`, as mask factors: those of
// word w of counter i go to factors[16 w + i].
constexpr int kMaskBlocks = 16, kMaskBatch = 4 * kMaskBlocks;
inline void mask_batch(const DropoutKey& key, uint64_t first, float* factors) {
  for (int i = 0; i < kMaskBlocks; i += kLanes) {
    // `first` is a multiple of sixteen, so adding a lane number never carries into the upper half.
    VecU c0 = __builtin_convertvector(lane_numbers(), VecU) +
              (static_cast<uint32_t>(first) + static_cast<uint32_t>(i));
    VecU c1 = VecU{} + static_cast<uint32_t>(first >> 32);
    VecU c2 = VecU{} + key.stream, c3 = VecU{} + key.site;
    uint32_t k0 = static_cast<uint32_t>(key.key), k1 = static_cast<uint32_t>(key.key >> 32);
    for (int round = 0; round < 10; ++round) {
      const WideProduct p0 = multiply_wide(c0, 0xD2511F53), p1 = multiply_wide(c2, 0xCD9E8D57);
      c0 = p1.high ^ c1 ^ k0;
      c1 = p1.low;
      c2 = p0.high ^ c3 ^ k1;
      c3 = p0.low;
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    const VecF kept = broadcast(key.keep_scale);
    const VecU threshold = VecU{} + key.threshold;
    store(factors + i, c0 >= threshold ? kept : VecF{});
    store(factors + kMaskBlocks + i, c1 >= threshold ? kept : VecF{});
    store(factors + 2 * kMaskBlocks + i, c2 >= threshold ? kept : VecF{});
    store(factors + 3 * kMaskBlocks + i, c3 >= threshold ? kept : VecF{});
  }
}

template <typename T>
inline void apply_mask(const T* src, T* dst, const float* factors, int64_t n, bool accumulate) {
  VecF y = load_n(src, n) * load_n(factors, n);
  if (accumulate) y = y + load_n(dst, n);
  store_n(dst, y, n);
}

template <typename T>
void dropout(const DropoutKey& key, const T* src, T* dst, int64_t begin, int64_t count,
             bool accumulate) {
  alignas(64) float factors[kMaskBatch];
  const int64_t end = begin + count;
  for (int64_t base = begin / kMaskBatch * kMaskBatch; base < end; base += kMaskBatch) {
    mask_batch(key, static_cast<uint64_t>(base / kMaskBatch * kMaskBlocks), factors);
    const int64_t first = larger(base, begin), last = smaller(base + kMaskBatch, end);
    for (int64_t e = first; e < last; e += kLanes) {
      apply_mask(src + (e - begin), dst + (e - begin), factors + (e - base), last - e, accumulate);
    }
  }
}

template <typename T>
void add_bias(T* y, const T* bias, int64_t rows, int64_t dim) {
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = dim - d;
      store_n(y + t * dim + d, load_n(y + t * dim + d, n) + load_n(bias + d, n), n);
    }
  }
}

template <typename T>
void add_columns(const T* g, float* sum, int64_t rows, int64_t stride, int64_t dim) {
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t d = 0; d < dim; d += kLanes) {
      store_n(sum + d, load_n(sum + d, dim - d) + load_n(g + t * stride + d, dim - d), dim - d);
    }
  }
}

template <typename T>
void accumulate(const T* src, float* dst, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    store_n(dst + i, load_n(dst + i, count - i) + load_n(src + i, count - i), count - i);
  }
}

}  // namespace
}  // namespace hone::kernels
