#include "formats/gguf_quants.h"

#include <array>
#include <cstring>

#include "core/error.h"
#include "formats/dtype.h"

// Names below (d, m, qs, qh, ql, scales) are those of ggml's block structures. Products and sums
// must stay separate roundings: this file is compiled with -ffp-contract=off.
namespace hone::formats {
namespace {

using Bytes = const uint8_t*;

constexpr std::array<GgmlTypeInfo, 13> kTypes{{
    {GgmlType::kF32, "F32", 1, 4},
    {GgmlType::kF16, "F16", 1, 2},
    {GgmlType::kBF16, "BF16", 1, 2},
    {GgmlType::kQ4_0, "Q4_0", 32, 18},
    {GgmlType::kQ4_1, "Q4_1", 32, 20},
    {GgmlType::kQ5_0, "Q5_0", 32, 22},
    {GgmlType::kQ5_1, "Q5_1", 32, 24},
    {GgmlType::kQ8_0, "Q8_0", 32, 34},
    {GgmlType::kQ2_K, "Q2_K", 256, 84},
    {GgmlType::kQ3_K, "Q3_K", 256, 110},
    {GgmlType::kQ4_K, "Q4_K", 256, 144},
    {GgmlType::kQ5_K, "Q5_K", 256, 176},
    {GgmlType::kQ6_K, "Q6_K", 256, 210},
}};

template <typename T>
T load(Bytes p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

float load_half(Bytes p) { return f16_to_f32(load<uint16_t>(p)); }

void block_f32(Bytes p, float* y) { *y = load<float>(p); }
void block_f16(Bytes p, float* y) { *y = load_half(p); }
void block_bf16(Bytes p, float* y) { *y = bf16_to_f32(load<uint16_t>(p)); }

void block_q4_0(Bytes p, float* y) {
  const float d = load_half(p);
  const Bytes qs = p + 2;
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>((qs[j] & 15) - 8) * d;
    y[j + 16] = static_cast<float>((qs[j] >> 4) - 8) * d;
  }
}

void block_q4_1(Bytes p, float* y) {
  const float d = load_half(p), m = load_half(p + 2);
  const Bytes qs = p + 4;
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>(qs[j] & 15) * d + m;
    y[j + 16] = static_cast<float>(qs[j] >> 4) * d + m;
  }
}

// The fifth bits of element j and j + 16, in place.
int fifth_low(uint32_t qh, int j) { return static_cast<int>(((qh >> j) << 4) & 16); }
int fifth_high(uint32_t qh, int j) { return static_cast<int>((qh >> (j + 12)) & 16); }

void block_q5_0(Bytes p, float* y) {
  const float d = load_half(p);
  const auto qh = load<uint32_t>(p + 2);
  const Bytes qs = p + 6;
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>(((qs[j] & 15) | fifth_low(qh, j)) - 16) * d;
    y[j + 16] = static_cast<float>(((qs[j] >> 4) | fifth_high(qh, j)) - 16) * d;
  }
}

void block_q5_1(Bytes p, float* y) {
  const float d = load_half(p), m = load_half(p + 2);
  const auto qh = load<uint32_t>(p + 4);
  const Bytes qs = p + 8;
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>((qs[j] & 15) | fifth_low(qh, j)) * d + m;
    y[j + 16] = static_cast<float>((qs[j] >> 4) | fifth_high(qh, j)) * d + m;
  }
}

void block_q8_0(Bytes p, float* y) {
  const float d = load_half(p);
  for (int j = 0; j < 32; ++j) y[j] = static_cast<float>(static_cast<int8_t>(p[2 + j])) * d;
}

void block_q2_k(Bytes p, float* y) {
  const Bytes scales = p;
  const float d = load_half(p + 80), dmin = load_half(p + 82);
  for (int i = 0; i < 16; ++i) {  // sub-blocks of 16
    const float dl = d * static_cast<float>(scales[i] & 15);
    const float ml = dmin * static_cast<float>(scales[i] >> 4);
    const Bytes q = p + 16 + 32 * (i / 8) + 16 * (i % 2);
    const int shift = 2 * (i % 8 / 2);
    for (int l = 0; l < 16; ++l) *y++ = dl * static_cast<float>((q[l] >> shift) & 3) - ml;
  }
}

// Sixteen 6-bit scales: 8 bytes of low nibbles, then 4 bytes of the upper two bits.
int q3_k_scale(Bytes packed, int i) {
  const int low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
  const int high = (packed[8 + i % 4] >> (2 * (i / 4))) & 3;
  return (low | (high << 4)) - 32;
}

void block_q3_k(Bytes p, float* y) {
  const Bytes hmask = p;
  const float d = load_half(p + 108);
  for (int i = 0; i < 16; ++i) {
    const float dl = d * static_cast<float>(q3_k_scale(p + 96, i));
    const Bytes q = p + 32 + 32 * (i / 8) + 16 * (i % 2);
    const Bytes hm = hmask + 16 * (i % 2);
    const int shift = 2 * (i % 8 / 2), bit = 1 << (i / 2);
    for (int l = 0; l < 16; ++l) {
      const int value = ((q[l] >> shift) & 3) - ((hm[l] & bit) != 0 ? 0 : 4);
      *y++ = dl * static_cast<float>(value);
    }
  }
}

// Eight pairs of 6-bit scale and minimum in 12 bytes.
void k4_scale_min(Bytes q, int j, float& scale, float& minimum) {
  if (j < 4) {
    scale = static_cast<float>(q[j] & 63);
    minimum = static_cast<float>(q[j + 4] & 63);
  } else {
    scale = static_cast<float>((q[j + 4] & 15) | ((q[j - 4] >> 6) << 4));
    minimum = static_cast<float>((q[j + 4] >> 4) | ((q[j] >> 6) << 4));
  }
}

// Q4_K and Q5_K: sub-blocks of 32; `qh` is nullptr or holds the fifth bits.
void block_q45_k(Bytes p, Bytes qh, Bytes qs, float* y) {
  const float d = load_half(p), dmin = load_half(p + 2);
  for (int i = 0; i < 8; ++i) {
    float scale, minimum;
    k4_scale_min(p + 4, i, scale, minimum);
    const float dl = d * scale, ml = dmin * minimum;
    const Bytes q = qs + 32 * (i / 2);
    for (int l = 0; l < 32; ++l) {
      int value = i % 2 == 0 ? q[l] & 15 : q[l] >> 4;
      if (qh != nullptr && ((qh[l] >> i) & 1) != 0) value += 16;
      *y++ = dl * static_cast<float>(value) - ml;
    }
  }
}

void block_q4_k(Bytes p, float* y) { block_q45_k(p, nullptr, p + 16, y); }
void block_q5_k(Bytes p, float* y) { block_q45_k(p, p + 16, p + 48, y); }

void block_q6_k(Bytes p, float* y) {
  const float d = load_half(p + 208);
  for (int i = 0; i < 8; ++i) {  // sub-blocks of 32 with two scales
    const Bytes ql = p + 64 * (i / 4) + 32 * (i % 2);
    const Bytes qh = p + 128 + 32 * (i / 4);
    const Bytes scales = p + 192 + 2 * i;
    for (int l = 0; l < 32; ++l) {
      const int low = i % 4 < 2 ? ql[l] & 15 : ql[l] >> 4;
      const int value = (low | (((qh[l] >> (2 * (i % 4))) & 3) << 4)) - 32;
      const auto scale = static_cast<float>(static_cast<int8_t>(scales[l / 16]));
      *y++ = d * scale * static_cast<float>(value);
    }
  }
}

template <void (*block)(Bytes, float*)>
void each_block(const GgmlTypeInfo& info, Bytes from, float* to, size_t num_blocks) {
  for (size_t i = 0; i < num_blocks; ++i) {
    block(from + i * info.block_bytes, to + i * info.block_elements);
  }
}

auto block_function(GgmlType type) {
  switch (type) {
    case GgmlType::kF32:
      return each_block<block_f32>;
    case GgmlType::kF16:
      return each_block<block_f16>;
    case GgmlType::kBF16:
      return each_block<block_bf16>;
    case GgmlType::kQ4_0:
      return each_block<block_q4_0>;
    case GgmlType::kQ4_1:
      return each_block<block_q4_1>;
    case GgmlType::kQ5_0:
      return each_block<block_q5_0>;
    case GgmlType::kQ5_1:
      return each_block<block_q5_1>;
    case GgmlType::kQ8_0:
      return each_block<block_q8_0>;
    case GgmlType::kQ2_K:
      return each_block<block_q2_k>;
    case GgmlType::kQ3_K:
      return each_block<block_q3_k>;
    case GgmlType::kQ4_K:
      return each_block<block_q4_k>;
    case GgmlType::kQ5_K:
      return each_block<block_q5_k>;
    case GgmlType::kQ6_K:
      return each_block<block_q6_k>;
  }
  core::fail(core::ErrorKind::kInternal, {.what = "unknown ggml type"});
}

}  // namespace

const GgmlTypeInfo* find_ggml_type(uint32_t number) {
  for (const GgmlTypeInfo& info : kTypes) {
    if (static_cast<uint32_t>(info.type) == number) return &info;
  }
  return nullptr;
}

const GgmlTypeInfo& ggml_type_info(GgmlType type) {
  const GgmlTypeInfo* info = find_ggml_type(static_cast<uint32_t>(type));
  if (info == nullptr) core::fail(core::ErrorKind::kInternal, {.what = "unknown ggml type"});
  return *info;
}

std::string known_ggml_types() {
  std::string text;
  for (const GgmlTypeInfo& info : kTypes)
    text += (text.empty() ? "" : " ") + std::string(info.name);
  return text;
}

void dequantize(GgmlType type, std::span<const std::byte> from, std::span<float> to) {
  const GgmlTypeInfo& info = ggml_type_info(type);
  const size_t num_blocks = to.size() / info.block_elements;
  if (num_blocks * info.block_elements != to.size() ||
      num_blocks * info.block_bytes != from.size()) {
    core::fail(core::ErrorKind::kInternal,
               {.what = std::string("sizes do not fit whole blocks of ") + info.name,
                .got = std::to_string(from.size()) + " bytes for " + std::to_string(to.size()) +
                       " elements"});
  }
  block_function(type)(info, reinterpret_cast<Bytes>(from.data()), to.data(), num_blocks);
}

}  // namespace hone::formats
