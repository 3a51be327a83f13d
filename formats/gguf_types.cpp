// Which type each tensor of a GGUF file has.
#include <algorithm>
#include <array>
#include <cctype>

#include "formats/gguf_export.h"

namespace hone::formats {
namespace {

constexpr std::array<GgufFileType, 6> kFileTypes{{{"F32", 0, GgmlType::kF32},
                                                  {"F16", 1, GgmlType::kF16},
                                                  {"BF16", 32, GgmlType::kBF16},
                                                  {"Q8_0", 7, GgmlType::kQ8_0},
                                                  {"Q4_0", 2, GgmlType::kQ4_0},
                                                  {"Q4_K_M", 15, GgmlType::kQ4_K}}};

// The blocks whose attn_v and ffn_down llama.cpp gives more bits: the first and last eighth, and
// every third between.
bool gets_more_bits(int64_t layer, int64_t num_layers) {
  const int64_t eighth = num_layers / 8;
  return layer < eighth || layer >= 7 * num_layers / 8 || (layer - eighth) % 3 == 2;
}

GgmlType with_smaller_blocks(GgmlType type) {
  if (type == GgmlType::kQ4_K) return GgmlType::kQ5_0;
  return type == GgmlType::kQ6_K ? GgmlType::kQ8_0 : GgmlType::kF16;
}

}  // namespace

const GgufFileType* find_gguf_file_type(const std::string& name) {
  std::string upper = name;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  if (upper == "Q4_K") upper = "Q4_K_M";
  for (const GgufFileType& type : kFileTypes) {
    if (upper == type.name) return &type;
  }
  return nullptr;
}

std::string known_gguf_file_types() {
  std::string text;
  for (const GgufFileType& type : kFileTypes) {
    text += (text.empty() ? "" : ", ") + std::string(type.name);
  }
  return text;
}

GgmlType gguf_tensor_type(const GgufFileType& file_type, const GgufName& name,
                          const GgufModel& model) {
  if (name.shape.size() < 2) return GgmlType::kF32;
  const bool is_quantised = ggml_type_info(file_type.type).block_elements > 1;
  if (!is_quantised) return file_type.type;
  const auto fits = [&](GgmlType type) {
    return static_cast<uint64_t>(name.shape.back()) % ggml_type_info(type).block_elements == 0;
  };
  GgmlType type = file_type.type;
  const bool is_head =
      name.gguf == "output.weight" || (model.tied_head && name.gguf == "token_embd.weight");
  if (is_head) {
    type = !fits(type) || type == GgmlType::kQ8_0 ? GgmlType::kQ8_0 : GgmlType::kQ6_K;
  } else if (type == GgmlType::kQ4_K && name.layer >= 0 &&
             (name.gguf.ends_with("attn_v.weight") || name.gguf.ends_with("ffn_down.weight")) &&
             gets_more_bits(name.layer, model.num_layers)) {
    type = GgmlType::kQ6_K;
  }
  while (!fits(type)) type = with_smaller_blocks(type);
  return type;
}

}  // namespace hone::formats
