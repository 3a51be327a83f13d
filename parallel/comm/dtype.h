// Element types and reductions a communicator knows. Buffers are plain memory, so this folder needs
// no tensor library.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

namespace hone::parallel {

enum class DType { kFloat32, kBFloat16, kFloat16, kFloat64, kInt32, kInt64, kUInt8 };

// Sums of bfloat16 and float16 are formed in float32 and rounded once, to nearest even. A NaN in
// any rank's element gives NaN for sum, max and min. Integer sums wrap.
enum class ReduceOp { kSum, kMax, kMin };

size_t dtype_size(DType dtype);        // bytes of one element
const char* dtype_name(DType dtype);   // "float32", "bfloat16", ...
const char* reduce_name(ReduceOp op);  // "sum", "max", "min"

// In the header, to be vectorized where they are used.
inline float bfloat16_to_float(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// Nearest even; NaN stays NaN.
inline uint16_t float_to_bfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  const uint32_t quiet_nan = (bits >> 16) | 0x40U;
  return static_cast<uint16_t>((bits & 0x7fffffffU) > 0x7f800000U ? quiet_nan : rounded);
}

inline float float16_to_float(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000U) << 16, magnitude = bits & 0x7fffU;
  if (magnitude >= 0x7c00U) return std::bit_cast<float>(sign | 0x7f800000U | (magnitude << 13));
  // The exponent is rebased by a multiplication, which also makes subnormals normal.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112F;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(scaled));
}

// Nearest even; overflow gives infinity, NaN stays NaN.
inline uint16_t float_to_float16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000U, magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return static_cast<uint16_t>(sign | 0x7e00U);
  if (magnitude >= 0x477ff000U) return static_cast<uint16_t>(sign | 0x7c00U);  // from 65520 on
  if (magnitude < 0x38800000U) {
    // Subnormal: adding 0.5 puts its 2^-24 units in the last bits, rounded by the addition.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000U));
  }
  const uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13) & 1U);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

}  // namespace hone::parallel
