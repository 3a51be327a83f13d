// One vector type of the widest registers the unit is compiled for, on GCC vector extensions.
// Everything is in an unnamed namespace: a symbol shared between units compiled for different
// instruction sets could be linked to the wrong one.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/simd/table.h"

namespace hone::kernels {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
constexpr int kTileVectors = 4;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
constexpr int kTileVectors = 2;
#else
constexpr int kLanes = 4;
constexpr int kTileVectors = 2;
#endif
constexpr int kTileRows = 6;

typedef float VecF __attribute__((vector_size(kLanes * 4)));
typedef float VecFUnaligned __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef int32_t VecI __attribute__((vector_size(kLanes * 4)));
typedef uint32_t VecU __attribute__((vector_size(kLanes * 4)));
typedef uint64_t VecL __attribute__((vector_size(kLanes * 4)));
typedef uint16_t VecH __attribute__((vector_size(kLanes * 2)));
typedef uint16_t VecHUnaligned __attribute__((vector_size(kLanes * 2), aligned(2), may_alias));

// 64-bit products of the even 32-bit lanes. The zeroing form avoids a false warning of GCC 12 (its
// bug 105593).
inline VecL multiply_even(VecU a, VecU b) {
#if defined(__AVX512F__)
  return reinterpret_cast<VecL>(
      _mm512_maskz_mul_epu32(0xFF, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<VecL>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return reinterpret_cast<VecL>(
      _mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#endif
}

inline VecF broadcast(float x) { return x - VecF{}; }
inline VecI bits_of(VecF x) { return reinterpret_cast<VecI>(x); }
inline VecF from_bits(VecI x) { return reinterpret_cast<VecF>(x); }

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

inline VecF load(const float* p) { return *reinterpret_cast<const VecFUnaligned*>(p); }
inline void store(float* p, VecF x) { *reinterpret_cast<VecFUnaligned*>(p) = x; }
inline VecF load(const Bf16* p) {
  const VecH half = *reinterpret_cast<const VecHUnaligned*>(p);
  return reinterpret_cast<VecF>(__builtin_convertvector(half, VecU) << 16);
}
// Round to nearest even; NaN stays NaN.
inline void store(Bf16* p, VecF x) {
  const VecU bits = reinterpret_cast<VecU>(x);
  const VecU rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  const VecU quiet = (bits >> 16) | 0x40u;
  const VecU chosen = (x == x) ? rounded : quiet;
  *reinterpret_cast<VecHUnaligned*>(p) = __builtin_convertvector(chosen, VecH);
}

// The first n <= kLanes elements, the rest zero.
template <typename T>
inline VecF load_n(const T* p, int64_t n) {
  if (n >= kLanes) return load(p);
  T lanes[kLanes] = {};
  std::memcpy(lanes, p, static_cast<size_t>(n) * sizeof(T));
  return load(lanes);
}
template <typename T>
inline void store_n(T* p, VecF x, int64_t n) {
  if (n >= kLanes) return store(p, x);
  T lanes[kLanes];
  store(lanes, x);
  std::memcpy(p, lanes, static_cast<size_t>(n) * sizeof(T));
}

inline float scalar(const float* p) { return *p; }
inline float scalar(const Bf16* p) {
  const uint32_t bits = static_cast<uint32_t>(p->bits) << 16;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
inline void set_scalar(float* p, float x) { *p = x; }
inline void set_scalar(Bf16* p, float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof x);
  p->bits = static_cast<uint16_t>(x == x ? (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16
                                         : (bits >> 16) | 0x40u);
}

inline float sum_lanes(VecF x) {
  float lanes[kLanes];
  store(lanes, x);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}
inline float max_lanes(VecF x) {
  float lanes[kLanes];
  store(lanes, x);
  for (int i = 1; i < kLanes; ++i) lanes[0] = lanes[i] > lanes[0] ? lanes[i] : lanes[0];
  return lanes[0];
}
inline VecF max_of(VecF a, VecF b) { return a > b ? a : b; }

inline VecF lane_numbers() {
  VecF x{};
  for (int i = 0; i < kLanes; ++i) x[i] = static_cast<float>(i);
  return x;
}

// e^x within 2 ulp for x in [-87.3, 88.3]; 0 below, saturated above, NaN kept. Range reduction by
// Cody and Waite.
inline VecF exp_of(VecF x) {
  constexpr float kLow = -87.3f, kHigh = 88.3f, kRound = 12582912.0f;  // 1.5 * 2^23
  const VecF high = broadcast(kHigh), low = broadcast(kLow);
  VecF clamped = x > high ? high : x;
  clamped = clamped < low ? low : clamped;
  const VecF shifted = clamped * 1.44269504088896341f + kRound;
  const VecF n = shifted - kRound;
  VecF r = clamped - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  VecF p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const VecF y = from_bits(bits_of(p) + (bits_of(shifted) << 23));
  return x < low ? VecF{} : y;
}

// C[rows x NV vectors] (+)= A B with A[i, k] at a[i * a_row + k * a_k] and rows of B contiguous.
template <int Rows, int NV>
inline void tile(int64_t depth, const float* a, int64_t a_row, int64_t a_k, const float* b,
                 int64_t b_row, float* c, int64_t c_row, bool accumulate) {
  VecF sum[Rows][NV];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      sum[i][j] = accumulate ? load(c + i * c_row + j * kLanes) : VecF{};
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    VecF row[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) row[j] = load(b + k * b_row + j * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const VecF scale = broadcast(a[i * a_row + k * a_k]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) sum[i][j] = sum[i][j] + scale * row[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) store(c + i * c_row + j * kLanes, sum[i][j]);
  }
}

template <int NV>
inline void tile_rows(int rows, int64_t depth, const float* a, int64_t a_row, int64_t a_k,
                      const float* b, int64_t b_row, float* c, int64_t c_row, bool accumulate) {
  switch (rows) {
    case 6:
      return tile<6, NV>(depth, a, a_row, a_k, b, b_row, c, c_row, accumulate);
    case 5:
      return tile<5, NV>(depth, a, a_row, a_k, b, b_row, c, c_row, accumulate);
    case 4:
      return tile<4, NV>(depth, a, a_row, a_k, b, b_row, c, c_row, accumulate);
    case 3:
      return tile<3, NV>(depth, a, a_row, a_k, b, b_row, c, c_row, accumulate);
    case 2:
      return tile<2, NV>(depth, a, a_row, a_k, b, b_row, c, c_row, accumulate);
    default:
      return tile<1, NV>(depth, a, a_row, a_k, b, b_row, c, c_row, accumulate);
  }
}

// A panel of at most kTileRows rows and any whole number of vectors.
inline void panel(int rows, int64_t vectors, int64_t depth, const float* a, int64_t a_row,
                  int64_t a_k, const float* b, int64_t b_row, float* c, int64_t c_row,
                  bool accumulate) {
  int64_t j = 0;
  for (; j + kTileVectors <= vectors; j += kTileVectors) {
    tile_rows<kTileVectors>(rows, depth, a, a_row, a_k, b + j * kLanes, b_row, c + j * kLanes,
                            c_row, accumulate);
  }
  if constexpr (kTileVectors > 2) {
    if (vectors - j == 3) {
      return tile_rows<3>(rows, depth, a, a_row, a_k, b + j * kLanes, b_row, c + j * kLanes, c_row,
                          accumulate);
    }
    if (vectors - j == 2) {
      return tile_rows<2>(rows, depth, a, a_row, a_k, b + j * kLanes, b_row, c + j * kLanes, c_row,
                          accumulate);
    }
  }
  if (vectors - j == 1) {
    tile_rows<1>(rows, depth, a, a_row, a_k, b + j * kLanes, b_row, c + j * kLanes, c_row,
                 accumulate);
  }
}

}  // namespace
}  // namespace hone::kernels
