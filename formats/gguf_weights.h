// A GGUF file's tensors under their Hugging Face names, and their values in Hugging Face order.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "formats/gguf.h"
#include "formats/gguf_config.h"

namespace hone::formats {

struct GgufWeight {
  const GgufTensor* source = nullptr;
  std::string name;  // "model.layers.0.self_attn.q_proj.weight"
  int64_t rotary_heads =
      0;  // > 0: rows were reordered by llama.cpp's converter and are put back, head by head
};

// Every tensor of the model, checked against the shapes the metadata asks for. Throws kBadInput
// naming all that are missing, of the wrong shape, or not part of the model.
std::vector<GgufWeight> match_gguf_weights(const GgufFile& file, const GgufModel& model);

// Calls `use(first_element, values)` for consecutive pieces of the tensor, in float32.
void read_gguf_weight(const GgufFile& file, const GgufWeight& weight,
                      const std::function<void(uint64_t, const std::vector<float>&)>& use);

}  // namespace hone::formats
