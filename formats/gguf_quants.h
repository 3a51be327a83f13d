// ggml's tensor types and their values in float32, bit for bit those of ggml's reference code.
// https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace hone::formats {

// The number a GGUF file holds for a type.
enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30,
};

struct GgmlTypeInfo {
  GgmlType type;
  const char* name;
  uint64_t block_elements;  // elements that share scales; they lie along the fastest dimension
  uint64_t block_bytes;
};

// nullptr for a type this project does not read.
const GgmlTypeInfo* find_ggml_type(uint32_t number);
const GgmlTypeInfo& ggml_type_info(GgmlType type);
// "F32 F16 Q4_0 ..."
std::string known_ggml_types();

// `from` holds whole blocks; `to` has exactly their elements. Throws kInternal when the sizes do
// not fit.
void dequantize(GgmlType type, std::span<const std::byte> from, std::span<float> to);

}  // namespace hone::formats
