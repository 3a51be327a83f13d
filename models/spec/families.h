// The registry of supported model families: what their Python config classes default to, and which
// keys change the maths.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/spec/config_reader.h"
#include "models/spec/model_spec.h"

namespace hone::models {

// A config key that may be present only with a value that leaves the computation as it is.
struct NeutralKey {
  const char* key;
  std::vector<core::Json> neutral;  // an absent key is always fine
};

enum class AttentionBias {
  kNone,
  kQkv,    // q, k, v always (Qwen2)
  kByKey,  // q, k, v, o where `attention_bias` is true
};

// Defaults are those of the transformers config class. Adding a family: docs/adding_a_model.md.
struct Family {
  const char* architecture;
  const char* model_type;
  int64_t vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads;
  int64_t num_key_value_heads;  // of an absent key; 0: as many as query heads, as a null key means
                                // for every family
  int64_t head_dim;             // 0: hidden_size / num_attention_heads
  int64_t max_position_embeddings;
  std::vector<int64_t> eos_token_ids;
  AttentionBias attention_bias;
  bool mlp_bias_by_key;  // `mlp_bias` is read
  bool qk_norm;
  // Fills spec.layers, which has its size already.
  void (*parse_layers)(ConfigReader& reader, ModelSpec& spec);
  std::vector<NeutralKey> neutral_keys;  // beside those of every family
  // The name map: where the file's name of a tensor differs from ours. None of these families needs
  // one.
  std::string (*file_name)(const std::string& name);
};

std::span<const Family> families();
// nullptr when no family has it.
const Family* find_family(std::string_view architecture);
std::span<const NeutralKey> common_neutral_keys();

}  // namespace hone::models
