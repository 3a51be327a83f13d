#include "formats/gguf_quantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>

#include "core/error.h"
#include "formats/dtype.h"
#include "formats/gguf_quantize_k.h"

// Products and sums must stay separate roundings: this file is compiled with -ffp-contract=off.
namespace hone::formats {
namespace {

void store_half(uint8_t* p, float value) {
  const uint16_t half = f32_to_f16(value);
  std::memcpy(p, &half, sizeof half);
}

void block_f32(const float* x, uint8_t* p) { std::memcpy(p, x, sizeof *x); }
void block_f16(const float* x, uint8_t* p) { store_half(p, *x); }
void block_bf16(const float* x, uint8_t* p) {
  const uint16_t half = f32_to_bf16(*x);
  std::memcpy(p, &half, sizeof half);
}

// The first value of the largest magnitude: its sign decides which end of the range is used whole.
float signed_largest(const float* x, int n) {
  float largest = 0, value = 0;
  for (int i = 0; i < n; ++i) {
    if (largest < std::fabs(x[i])) {
      largest = std::fabs(x[i]);
      value = x[i];
    }
  }
  return value;
}

float inverse(float d) { return d != 0 ? 1.0f / d : 0.0f; }

void block_q4_0(const float* x, uint8_t* p) {
  const float d = signed_largest(x, 32) / -8;
  const float id = inverse(d);
  store_half(p, d);
  const auto level = [&](float value) {
    return static_cast<uint8_t>(std::min(15, static_cast<int>(value * id + 8.5f)));
  };
  for (int j = 0; j < 16; ++j) {
    p[2 + j] = static_cast<uint8_t>(level(x[j]) | (level(x[j + 16]) << 4));
  }
}

void block_q5_0(const float* x, uint8_t* p) {
  const float d = signed_largest(x, 32) / -16;
  const float id = inverse(d);
  store_half(p, d);
  const auto level = [&](float value) {
    return static_cast<uint32_t>(std::min(31, static_cast<int>(value * id + 16.5f)));
  };
  uint32_t fifth_bits = 0;
  for (int j = 0; j < 16; ++j) {
    const uint32_t low = level(x[j]), high = level(x[j + 16]);
    p[6 + j] = static_cast<uint8_t>((low & 15) | ((high & 15) << 4));
    fifth_bits |= (low >> 4) << j;
    fifth_bits |= (high >> 4) << (j + 16);
  }
  std::memcpy(p + 2, &fifth_bits, sizeof fifth_bits);
}

void block_q8_0(const float* x, uint8_t* p) {
  const float d = std::fabs(signed_largest(x, 32)) / 127;
  const float id = inverse(d);
  store_half(p, d);
  for (int j = 0; j < 32; ++j) {
    p[2 + j] = static_cast<uint8_t>(static_cast<int8_t>(std::round(x[j] * id)));
  }
}

using BlockFunction = void (*)(const float*, uint8_t*);

BlockFunction block_function(GgmlType type) {
  switch (type) {
    case GgmlType::kF32:
      return block_f32;
    case GgmlType::kF16:
      return block_f16;
    case GgmlType::kBF16:
      return block_bf16;
    case GgmlType::kQ4_0:
      return block_q4_0;
    case GgmlType::kQ5_0:
      return block_q5_0;
    case GgmlType::kQ8_0:
      return block_q8_0;
    case GgmlType::kQ4_K:
      return quantize_block_q4_k;
    case GgmlType::kQ6_K:
      return quantize_block_q6_k;
    default:
      return nullptr;
  }
}

}  // namespace

bool can_quantize(GgmlType type) { return block_function(type) != nullptr; }

void quantize(GgmlType type, std::span<const float> from, std::span<std::byte> to) {
  const GgmlTypeInfo& info = ggml_type_info(type);
  const BlockFunction block = block_function(type);
  const size_t num_blocks = from.size() / info.block_elements;
  if (block == nullptr || num_blocks * info.block_elements != from.size() ||
      num_blocks * info.block_bytes != to.size()) {
    core::fail(core::ErrorKind::kInternal,
               {.what = std::string("can't make blocks of ") + info.name,
                .got = std::to_string(from.size()) + " elements for " + std::to_string(to.size()) +
                       " bytes"});
  }
  for (size_t i = 0; i < num_blocks; ++i) {
    block(from.data() + i * info.block_elements,
          reinterpret_cast<uint8_t*>(to.data()) + i * info.block_bytes);
  }
}

}  // namespace hone::formats
