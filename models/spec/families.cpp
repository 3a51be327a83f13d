#include "models/spec/families.h"

namespace hone::models {
namespace {

constexpr int64_t kDefaultSlidingWindow = 4096;  // MistralConfig, Qwen2Config, Qwen3Config

std::string same_name(const std::string& name) { return name; }

void slide(LayerSpec& layer, int64_t window) {
  layer.mixer = MixerKind::kSlidingAttention;
  layer.sliding_window = window;
}

// The names of `layer_types`, or an empty list where there is none; names that don't fit are
// problems.
std::vector<std::string> read_layer_types(ConfigReader& reader, const ModelSpec& spec) {
  std::vector<std::string> types = reader.texts("layer_types");
  if (types.empty()) return types;
  if (static_cast<int64_t>(types.size()) != spec.num_layers()) {
    reader.problem("layer_types: got " + std::to_string(types.size()) + " entries, expected " +
                   std::to_string(spec.num_layers()) + " (num_hidden_layers)");
    return {};
  }
  for (const std::string& type : types) {
    if (type != "full_attention" && type != "sliding_attention") {
      reader.problem("layer_types: '" + type +
                     "' is not supported (full_attention, sliding_attention are)");
      return {};
    }
  }
  return types;
}

void parse_full_layers(ConfigReader& reader, ModelSpec& spec) {
  for (const std::string& type : read_layer_types(reader, spec)) {
    if (type != "full_attention") {
      reader.problem("layer_types: '" + type + "' is not supported for " + spec.architecture);
      return;
    }
  }
}

// Mistral: one window for every layer; null turns it off, an absent key means the class's default.
void parse_mistral_layers(ConfigReader& reader, ModelSpec& spec) {
  const core::Json* key = reader.find("sliding_window");
  const bool slides = key == nullptr || !key->is_null();
  if (slides) {
    const int64_t window = reader.positive_integer("sliding_window", kDefaultSlidingWindow);
    for (LayerSpec& layer : spec.layers) slide(layer, window);
  }
  for (const std::string& type : read_layer_types(reader, spec)) {
    if ((type == "sliding_attention") != slides) {
      reader.problem("layer_types: '" + type + "' contradicts sliding_window; " +
                     spec.architecture + " has one window for every layer");
      return;
    }
  }
}

// Qwen2 and Qwen3: layer_types where given; else, with use_sliding_window, layers from
// max_window_layers on slide.
void parse_qwen_layers(ConfigReader& reader, ModelSpec& spec) {
  const bool use_window = reader.boolean("use_sliding_window", false);
  const core::Json* key = reader.find("sliding_window");
  const bool has_window = use_window && (key == nullptr || !key->is_null());
  const int64_t window =
      has_window ? reader.positive_integer("sliding_window", kDefaultSlidingWindow) : 0;
  int64_t first_sliding = 28;
  if (const core::Json* max_layers = reader.find("max_window_layers");
      max_layers != nullptr && !max_layers->is_null()) {
    if (max_layers->is_number_integer() && max_layers->get<int64_t>() >= 0) {
      first_sliding = max_layers->get<int64_t>();
    } else {
      reader.problem("max_window_layers: got " + max_layers->dump() +
                     ", expected an integer from 0 on");
    }
  }
  const std::vector<std::string> types = read_layer_types(reader, spec);
  for (int64_t i = 0; i < spec.num_layers(); ++i) {
    const bool slides =
        types.empty() ? has_window && i >= first_sliding : types[i] == "sliding_attention";
    if (!slides) continue;
    if (!has_window) {
      reader.problem("layer_types: sliding_attention needs use_sliding_window and sliding_window");
      return;
    }
    slide(spec.layers[i], window);
  }
}

const std::vector<Family>& family_table() {
  static const std::vector<Family> kFamilies = {
      {.architecture = "LlamaForCausalLM",
       .model_type = "llama",
       .vocab_size = 32000,
       .hidden_size = 4096,
       .intermediate_size = 11008,
       .num_hidden_layers = 32,
       .num_attention_heads = 32,
       .num_key_value_heads = 0,
       .head_dim = 0,
       .max_position_embeddings = 2048,
       .eos_token_ids = {2},
       .attention_bias = AttentionBias::kByKey,
       .mlp_bias_by_key = true,
       .qk_norm = false,
       .parse_layers = parse_full_layers,
       .neutral_keys = {},
       .file_name = same_name},
      {.architecture = "MistralForCausalLM",
       .model_type = "mistral",
       .vocab_size = 32000,
       .hidden_size = 4096,
       .intermediate_size = 14336,
       .num_hidden_layers = 32,
       .num_attention_heads = 32,
       .num_key_value_heads = 8,
       .head_dim = 0,
       .max_position_embeddings = 4096 * 32,
       .eos_token_ids = {2},
       .attention_bias = AttentionBias::kNone,
       .mlp_bias_by_key = false,
       .qk_norm = false,
       .parse_layers = parse_mistral_layers,
       .neutral_keys = {{"attention_bias", {false, nullptr}}, {"mlp_bias", {false, nullptr}}},
       .file_name = same_name},
      {.architecture = "Qwen2ForCausalLM",
       .model_type = "qwen2",
       .vocab_size = 151936,
       .hidden_size = 4096,
       .intermediate_size = 22016,
       .num_hidden_layers = 32,
       .num_attention_heads = 32,
       .num_key_value_heads = 32,
       .head_dim = 0,
       .max_position_embeddings = 32768,
       .eos_token_ids = {},
       .attention_bias = AttentionBias::kQkv,
       .mlp_bias_by_key = false,
       .qk_norm = false,
       .parse_layers = parse_qwen_layers,
       .neutral_keys = {{"mlp_bias", {false, nullptr}}},
       .file_name = same_name},
      {.architecture = "Qwen3ForCausalLM",
       .model_type = "qwen3",
       .vocab_size = 151936,
       .hidden_size = 4096,
       .intermediate_size = 22016,
       .num_hidden_layers = 32,
       .num_attention_heads = 32,
       .num_key_value_heads = 32,
       .head_dim = 128,
       .max_position_embeddings = 32768,
       .eos_token_ids = {},
       .attention_bias = AttentionBias::kByKey,
       .mlp_bias_by_key = false,
       .qk_norm = true,
       .parse_layers = parse_qwen_layers,
       .neutral_keys = {{"mlp_bias", {false, nullptr}}},
       .file_name = same_name},
  };
  return kFamilies;
}

}  // namespace

std::span<const Family> families() { return family_table(); }

const Family* find_family(std::string_view architecture) {
  for (const Family& family : family_table()) {
    if (architecture == family.architecture) return &family;
  }
  return nullptr;
}

std::span<const NeutralKey> common_neutral_keys() {
  static const std::vector<NeutralKey> kKeys = {
      {"hidden_act", {"silu", "swish", nullptr}},
      {"attention_dropout", {0, 0.0, nullptr}},
      {"hidden_dropout", {0, 0.0, nullptr}},
      {"resid_pdrop", {0, 0.0, nullptr}},
      {"embd_pdrop", {0, 0.0, nullptr}},
      {"pretraining_tp", {0, 1, nullptr}},
      {"quantization_config", {nullptr}},
      {"partial_rotary_factor", {1, 1.0, nullptr}},
      {"attn_logit_softcapping", {nullptr}},
      {"final_logit_softcapping", {nullptr}},
      {"query_pre_attn_scalar", {nullptr}},
      {"attention_multiplier", {nullptr}},
      {"embedding_multiplier", {1, 1.0, nullptr}},
      {"residual_multiplier", {1, 1.0, nullptr}},
      {"logits_scaling", {1, 1.0, nullptr}},
      {"logit_scale", {1, 1.0, nullptr}},
      {"scale_emb", {1, 1.0, nullptr}},
      {"scale_depth", {nullptr}},
      {"dim_model_base", {nullptr}},
      {"clip_qkv", {nullptr}},
      {"no_rope_layers", {nullptr, core::Json::array()}},
      {"use_mrope", {false, nullptr}},
      {"use_qk_norm", {false, nullptr}},
      {"num_experts", {0, nullptr}},
      {"num_local_experts", {0, nullptr}},
      {"add_cross_attention", {false, nullptr}},
      {"is_encoder_decoder", {false, nullptr}},
  };
  return kKeys;
}

}  // namespace hone::models
