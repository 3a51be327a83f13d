// What a decoder is, as plain numbers: read from config.json, without LibTorch. One spec covers
// every supported family.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"

namespace hone::models {

enum class RopeKind { kDefault, kLinear, kLlama3 };

struct RopeSpec {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000.0;
  double factor = 1.0;  // linear, llama3
  double low_freq_factor = 1.0, high_freq_factor = 4.0;
  int64_t original_max_position_embeddings = 0;
};

enum class MixerKind { kFullAttention, kSlidingAttention };

struct LayerSpec {
  MixerKind mixer = MixerKind::kFullAttention;
  int64_t sliding_window =
      0;  // kSlidingAttention: a query sees itself and the window-1 positions before it
};

struct ModelSpec {
  std::string architecture;  // "LlamaForCausalLM"
  std::string model_type;    // "llama"
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  double attention_scale = 0;  // head_dim^-0.5 for every family here
  bool tie_word_embeddings = false;
  bool q_bias = false, k_bias = false, v_bias = false, o_bias = false, mlp_bias = false;
  bool qk_norm = false;
  RopeSpec rope;
  std::vector<LayerSpec> layers;
  std::string dtype;  // "bfloat16" as config.json says, "" if it does not
  std::vector<int64_t> eos_token_ids;
  int64_t num_layers() const { return static_cast<int64_t>(layers.size()); }
};

// Pairs of a query and a key that it sees in a document of `length` tokens: length (length + 1) / 2
// without a window (0).
int64_t attention_pairs(int64_t length, int64_t window);

// Reads both config dialects (transformers 4: rope_theta + rope_scaling + torch_dtype; 5:
// rope_parameters + dtype), with the defaults of that architecture's Python config class for absent
// keys. Throws kBadInput for an unknown architecture (naming the supported ones), for missing or
// wrong values, and for keys that change the maths and are not supported.
ModelSpec parse_model_spec(const core::Json& config, const std::string& where);
ModelSpec read_model_spec(const std::filesystem::path& folder);

// One tensor of the model, named as in the Hugging Face file.
struct ParameterSpec {
  std::string name;  // "model.layers.0.self_attn.q_proj.weight"
  std::vector<int64_t> shape;
  int64_t stage = 0;  // 0 embedding, 1..num_layers blocks, num_layers + 1 final norm and head
  int64_t numel() const;
};

// Every tensor the model file holds, in stage order and inside a stage in flat-buffer order: q, k,
// v (weights, then biases) adjacent, gate and up adjacent. A tied head is not listed.
std::vector<ParameterSpec> parameter_table(const ModelSpec& spec);

}  // namespace hone::models
