// The parts of a Hugging Face folder that come from a GGUF file's metadata.
#pragma once

#include <string>
#include <vector>

#include "core/json.h"
#include "formats/gguf.h"

namespace hone::formats {

// What the tensors' names, shapes and order depend on.
struct GgufModel {
  std::string arch;          // "llama", "qwen2", "qwen3": prefix of the metadata keys
  std::string model_type;    // "llama", "mistral", "qwen2", "qwen3"
  std::string architecture;  // "LlamaForCausalLM"
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0;
  int64_t num_layers = 0, num_heads = 0, num_kv_heads = 0, head_dim = 0;
  bool tied_head = false, attention_bias = false, mlp_bias = false;
};

// Rotary embedding of Llama 3.1: frequencies are divided, the slow ones by `factor`.
struct GgufRope {
  double theta = 10000.0;
  double factor = 1.0, low_freq_factor = 1.0, high_freq_factor = 4.0;
  int64_t original_context_length = 8192;
};

// The tensor "rope_freqs.weight": what each of the head_dim / 2 frequencies is divided by.
std::vector<float> llama3_divisors(const GgufRope& rope, int64_t head_dim);

// Keys of ours for scalings that are not those of Llama 3.1 and 3.2; llama.cpp needs only the
// divisors and passes them over.
inline constexpr const char* kGgufRopeFactor = "hone.rope.factor";
inline constexpr const char* kGgufRopeLowFactor = "hone.rope.low_freq_factor";
inline constexpr const char* kGgufRopeHighFactor = "hone.rope.high_freq_factor";

// Throws kBadInput for another architecture and for metadata that changes the maths in a way not
// supported.
GgufModel read_gguf_model(const GgufFile& file);

// config.json and generation_config.json as transformers 5 writes them; `dtype` is e.g. "float32".
core::Json gguf_config_json(const GgufFile& file, const GgufModel& model, const std::string& dtype);
core::Json gguf_generation_config_json(const GgufFile& file);

// Token ids: eos first, then the end-of-turn and end-of-message tokens where they are others. Empty
// without any.
std::vector<int64_t> gguf_eos_ids(const GgufFile& file);
// tokenizer.ggml.padding_token_id, else the first end token; -1 without either.
int64_t gguf_pad_id(const GgufFile& file);

}  // namespace hone::formats
