#include "models/spec/gguf_spec.h"

#include <algorithm>

#include "core/error.h"

namespace hone::models {
namespace {

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
  core::fail(core::ErrorKind::kBadInput, {.what = what, .where = where});
}

// The one window of all layers; 0 without.
int64_t sliding_window(const ModelSpec& spec, const std::string& where) {
  const auto slides = [](const LayerSpec& layer) {
    return layer.mixer == MixerKind::kSlidingAttention;
  };
  const auto num_sliding = std::count_if(spec.layers.begin(), spec.layers.end(), slides);
  if (num_sliding == 0) return 0;
  if (spec.model_type != "mistral" || num_sliding != spec.num_layers()) {
    refuse(where, "a sliding window of a " + spec.model_type +
                      " model can't be said in a GGUF file: llama.cpp would run it without");
  }
  return spec.layers.front().sliding_window;
}

}  // namespace

formats::GgufHyperparameters gguf_hyperparameters(const ModelSpec& spec, const std::string& where) {
  formats::GgufHyperparameters h;
  formats::GgufModel& m = h.model;
  m.model_type = spec.model_type;
  m.arch = spec.model_type == "mistral" ? "llama" : spec.model_type;
  m.architecture = spec.architecture;
  m.vocab_size = spec.vocab_size;
  m.hidden_size = spec.hidden_size;
  m.intermediate_size = spec.intermediate_size;
  m.num_layers = spec.num_layers();
  m.num_heads = spec.num_heads;
  m.num_kv_heads = spec.num_kv_heads;
  m.head_dim = spec.head_dim;
  m.tied_head = spec.tie_word_embeddings;
  m.attention_bias = spec.q_bias;
  m.mlp_bias = spec.mlp_bias;
  h.context_length = spec.max_position_embeddings;
  h.sliding_window = sliding_window(spec, where);
  h.rms_norm_eps = spec.rms_norm_eps;
  h.rope_theta = spec.rope.theta;
  if (spec.rope.kind == RopeKind::kLinear) h.rope_linear_factor = spec.rope.factor;
  if (spec.rope.kind == RopeKind::kLlama3) {
    h.rope_llama3 =
        formats::GgufRope{.theta = spec.rope.theta,
                          .factor = spec.rope.factor,
                          .low_freq_factor = spec.rope.low_freq_factor,
                          .high_freq_factor = spec.rope.high_freq_factor,
                          .original_context_length = spec.rope.original_max_position_embeddings};
  }
  return h;
}

}  // namespace hone::models
