#include "formats/dtype.h"

#include <array>
#include <bit>

#include "core/error.h"

namespace hone::formats {
namespace {

struct DtypeRow {
  std::string_view name;
  int bits;
};

// Indexed by Dtype.
constexpr std::array<DtypeRow, 22> kRows{{
    {"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
    {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
    {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
    {"I64", 64},        {"U64", 64},
}};

const DtypeRow& row(Dtype dtype) { return kRows.at(static_cast<size_t>(dtype)); }

}  // namespace

std::string_view dtype_name(Dtype dtype) { return row(dtype).name; }

int dtype_bits(Dtype dtype) { return row(dtype).bits; }

std::optional<Dtype> find_dtype(std::string_view name) {
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (kRows[i].name == name) return static_cast<Dtype>(i);
  }
  return std::nullopt;
}

Dtype parse_dtype(std::string_view name, const std::string& where) {
  if (const auto dtype = find_dtype(name)) return *dtype;
  std::string known;
  for (const DtypeRow& r : kRows) known += (known.empty() ? "" : " ") + std::string(r.name);
  core::fail(core::ErrorKind::kBadInput, {.what = "unknown dtype",
                                          .where = where,
                                          .got = "\"" + std::string(name.substr(0, 40)) + "\"",
                                          .expected = "one of " + known});
}

std::optional<uint64_t> shape_numel(const std::vector<int64_t>& shape) {
  uint64_t numel = 1;
  for (const int64_t dimension : shape) {
    if (dimension < 0) return std::nullopt;
    if (__builtin_mul_overflow(numel, static_cast<uint64_t>(dimension), &numel)) {
      return std::nullopt;
    }
  }
  return numel;
}

std::string format_shape(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + "]";
}

std::optional<uint64_t> tensor_bytes(Dtype dtype, const std::vector<int64_t>& shape) {
  const auto numel = shape_numel(shape);
  uint64_t bits = 0;
  if (!numel || __builtin_mul_overflow(*numel, static_cast<uint64_t>(dtype_bits(dtype)), &bits)) {
    return std::nullopt;
  }
  if (bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

float f16_to_f32(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = (half >> 10) & 31;
  const uint32_t mantissa = half & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));
  if (exponent != 0) {
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  }
  const float magnitude = static_cast<float>(mantissa) * 0x1.0p-24f;  // zero or subnormal: exact
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

uint16_t f32_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u);
  if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);  // rounds to 65536 up
  if (magnitude < 0x38800000u) {
    // Below the smallest normal half, 2^-14. Adding 0.5 puts the last kept bit at 2^-24; the FPU
    // rounds to even.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3F000000u));
  }
  const uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

float bf16_to_f32(uint16_t half) { return std::bit_cast<float>(uint32_t{half} << 16); }

uint16_t f32_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

void f16_to_f32(std::span<const uint16_t> from, std::span<float> to) {
  for (size_t i = 0; i < from.size(); ++i) to[i] = f16_to_f32(from[i]);
}

void f32_to_f16(std::span<const float> from, std::span<uint16_t> to) {
  for (size_t i = 0; i < from.size(); ++i) to[i] = f32_to_f16(from[i]);
}

void bf16_to_f32(std::span<const uint16_t> from, std::span<float> to) {
  for (size_t i = 0; i < from.size(); ++i) to[i] = bf16_to_f32(from[i]);
}

void f32_to_bf16(std::span<const float> from, std::span<uint16_t> to) {
  for (size_t i = 0; i < from.size(); ++i) to[i] = f32_to_bf16(from[i]);
}

}  // namespace hone::formats
