// The one table of a decoder's tensors: their names in GGUF files and in Hugging Face files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/gguf_config.h"

namespace hone::formats {

struct GgufName {
  std::string gguf;            // "blk.0.attn_q.weight"
  std::string name;            // "model.layers.0.self_attn.q_proj.weight"
  std::vector<int64_t> shape;  // slowest dimension first
  // > 0: GGUF files hold the rows of each of that many heads in another order (rotary_row).
  int64_t rotary_heads = 0;
  int64_t layer = -1;  // -1: outside the blocks
};

// Embedding, blocks, final norm, head where it is not tied.
std::vector<GgufName> gguf_tensor_names(const GgufModel& model);

// llama.cpp rotates neighbouring rows of a head, Hugging Face its two halves: row `row` of a
// Hugging Face tensor with heads of head_dim rows is this row of the GGUF tensor.
int64_t rotary_row(int64_t row, int64_t head_dim);

}  // namespace hone::formats
