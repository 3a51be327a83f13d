// Element types of weight files: names and sizes as safetensors has them, and conversions between
// the float types.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hone::formats {

enum class Dtype {
  kBool,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64,
};

// "F32", "BF16", "F16", ... as in a safetensors header.
std::string_view dtype_name(Dtype dtype);
std::optional<Dtype> find_dtype(std::string_view name);
// As find_dtype, but throws kBadInput naming `where` and the known types.
Dtype parse_dtype(std::string_view name, const std::string& where);
int dtype_bits(Dtype dtype);

// Elements of a shape; nullopt when the product overflows 64 bits or a dimension is negative. A
// scalar has one.
std::optional<uint64_t> shape_numel(const std::vector<int64_t>& shape);
// "[2, 3]"
std::string format_shape(const std::vector<int64_t>& shape);
// Bytes of a tensor; nullopt on overflow or when a sub-byte dtype does not fill whole bytes.
std::optional<uint64_t> tensor_bytes(Dtype dtype, const std::vector<int64_t>& shape);

// Exact widening; narrowing rounds to nearest, ties to even; NaN stays NaN, overflow gives
// infinity.
float f16_to_f32(uint16_t half);
uint16_t f32_to_f16(float value);
float bf16_to_f32(uint16_t half);
uint16_t f32_to_bf16(float value);
void f16_to_f32(std::span<const uint16_t> from, std::span<float> to);
void f32_to_f16(std::span<const float> from, std::span<uint16_t> to);
void bf16_to_f32(std::span<const uint16_t> from, std::span<float> to);
void f32_to_bf16(std::span<const float> from, std::span<uint16_t> to);

}  // namespace hone::formats
