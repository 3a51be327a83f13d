#include "models/spec/model_spec.h"

#include <gtest/gtest.h>

#include <cmath>

#include "models/spec/families.h"
#include "tests/core/temp_folder.h"
#include "tests/support/model_failure.h"

namespace hone::models {
namespace {

ModelSpec parse(const std::string& text) {
  return parse_model_spec(core::parse_json(text, "test"), "config.json");
}

// A small config of an architecture, with more keys put in at the end.
std::string config_text(const std::string& architecture, const std::string& more = "") {
  return R"({"architectures": [")" + architecture +
         R"("], "vocab_size": 100, "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2)" +
         more + "}";
}

void expect_refusal(const std::string& architecture, const std::string& more,
                    const std::vector<std::string>& parts) {
  expect_failure([&] { parse(config_text(architecture, more)); }, core::ErrorKind::kBadInput,
                 parts);
}

std::vector<int64_t> windows(const ModelSpec& spec) {
  std::vector<int64_t> result;
  for (const LayerSpec& layer : spec.layers) {
    EXPECT_EQ(layer.mixer == MixerKind::kSlidingAttention, layer.sliding_window > 0);
    result.push_back(layer.sliding_window);
  }
  return result;
}

using Windows = std::vector<int64_t>;

TEST(ModelSpec, LlamaDefaultsOfAbsentKeysAreThoseOfItsConfigClass) {
  const ModelSpec spec = parse(R"({"architectures": ["LlamaForCausalLM"]})");
  EXPECT_EQ(spec.model_type, "llama");
  EXPECT_EQ(spec.vocab_size, 32000);
  EXPECT_EQ(spec.hidden_size, 4096);
  EXPECT_EQ(spec.intermediate_size, 11008);
  EXPECT_EQ(spec.num_layers(), 32);
  EXPECT_EQ(spec.num_heads, 32);
  EXPECT_EQ(spec.num_kv_heads, 32);
  EXPECT_EQ(spec.head_dim, 128);
  EXPECT_EQ(spec.max_position_embeddings, 2048);
  EXPECT_EQ(spec.rms_norm_eps, 1e-6);
  EXPECT_EQ(spec.rope.kind, RopeKind::kDefault);
  EXPECT_EQ(spec.rope.theta, 10000.0);
  EXPECT_EQ(spec.eos_token_ids, std::vector<int64_t>{2});
  EXPECT_FALSE(spec.tie_word_embeddings || spec.q_bias || spec.o_bias || spec.mlp_bias ||
               spec.qk_norm);
  EXPECT_EQ(spec.dtype, "");
  EXPECT_DOUBLE_EQ(spec.attention_scale, 1 / std::sqrt(128.0));
}

TEST(ModelSpec, MistralDefaultsHaveEightKeyValueHeadsAndAWindow) {
  const ModelSpec spec = parse(R"({"architectures": ["MistralForCausalLM"]})");
  EXPECT_EQ(spec.num_kv_heads, 8);
  EXPECT_EQ(spec.intermediate_size, 14336);
  EXPECT_EQ(spec.max_position_embeddings, 131072);
  EXPECT_EQ(windows(spec), Windows(32, 4096));
}

TEST(ModelSpec, Qwen2DefaultsHaveBiasesOnQkvOnlyAndNoWindow) {
  const ModelSpec spec = parse(R"({"architectures": ["Qwen2ForCausalLM"]})");
  EXPECT_EQ(spec.vocab_size, 151936);
  EXPECT_EQ(spec.intermediate_size, 22016);
  EXPECT_EQ(spec.num_kv_heads, 32);
  EXPECT_EQ(spec.max_position_embeddings, 32768);
  EXPECT_TRUE(spec.q_bias && spec.k_bias && spec.v_bias);
  EXPECT_FALSE(spec.o_bias || spec.qk_norm);
  EXPECT_EQ(windows(spec), Windows(32, 0));
  EXPECT_TRUE(spec.eos_token_ids.empty());
}

TEST(ModelSpec, Qwen3DefaultHeadDimIsNotDerived) {
  const ModelSpec spec = parse(R"({"architectures": ["Qwen3ForCausalLM"], "hidden_size": 1024,
                                   "num_attention_heads": 16, "num_key_value_heads": 8})");
  EXPECT_EQ(spec.head_dim, 128);
  EXPECT_TRUE(spec.qk_norm);
  EXPECT_FALSE(spec.q_bias);
}

TEST(ModelSpec, NullKeyValueHeadsMeanAsManyAsQueryHeads) {
  for (const Family& family : families()) {
    const std::string text = std::string(R"({"architectures": [")") + family.architecture +
                             R"("], "num_attention_heads": 16, "num_key_value_heads": null})";
    EXPECT_EQ(parse(text).num_kv_heads, 16) << family.architecture;
  }
}

TEST(ModelSpec, ANullEndOfTextTokenIsNone) {
  EXPECT_TRUE(
      parse(config_text("LlamaForCausalLM", R"(, "eos_token_id": null)")).eos_token_ids.empty());
}

TEST(ModelSpec, AConfigWithoutArchitecturesIsKnownByItsModelType) {
  EXPECT_EQ(parse(R"({"model_type": "qwen3"})").architecture, "Qwen3ForCausalLM");
}

TEST(ModelSpec, ReadsTheDialectOfTransformers4) {
  const ModelSpec spec = parse(config_text("LlamaForCausalLM", R"(, "rope_theta": 500000.0,
      "torch_dtype": "bfloat16", "eos_token_id": [5, 6], "head_dim": 16, "attention_bias": true,
      "mlp_bias": true, "tie_word_embeddings": true, "pretraining_tp": 1, "attention_dropout": 0.0,
      "hidden_act": "silu", "rope_scaling": {"type": "linear", "factor": 4.0}, "my_own_key": [1])"));
  EXPECT_EQ(spec.rope.theta, 500000.0);
  EXPECT_EQ(spec.rope.kind, RopeKind::kLinear);
  EXPECT_EQ(spec.rope.factor, 4.0);
  EXPECT_EQ(spec.dtype, "bfloat16");
  EXPECT_EQ(spec.eos_token_ids, (std::vector<int64_t>{5, 6}));
  EXPECT_EQ(spec.head_dim, 16);
  EXPECT_TRUE(spec.q_bias && spec.o_bias && spec.mlp_bias && spec.tie_word_embeddings);
}

TEST(ModelSpec, ReadsTheDialectOfTransformers5) {
  const ModelSpec spec = parse(config_text("LlamaForCausalLM", R"(, "dtype": "float16",
      "max_position_embeddings": 256, "rope_parameters": {"rope_theta": 500000.0,
      "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 64})"));
  EXPECT_EQ(spec.dtype, "float16");
  EXPECT_EQ(spec.rope.kind, RopeKind::kLlama3);
  EXPECT_EQ(spec.rope.theta, 500000.0);
  EXPECT_EQ(spec.rope.factor, 8.0);
  EXPECT_EQ(spec.rope.high_freq_factor, 4.0);
  EXPECT_EQ(spec.rope.original_max_position_embeddings, 64);
}

TEST(ModelSpec, BothDialectsOfAModelGiveTheSameRope) {
  const RopeSpec old_rope =
      parse(config_text("LlamaForCausalLM", R"(, "rope_theta": 3e5, "rope_scaling": {
      "rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
      "original_max_position_embeddings": 64})"))
          .rope;
  const RopeSpec new_rope =
      parse(config_text("LlamaForCausalLM", R"(, "rope_parameters": {"rope_theta": 3e5,
      "rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
      "original_max_position_embeddings": 64})"))
          .rope;
  EXPECT_EQ(old_rope.kind, new_rope.kind);
  EXPECT_EQ(old_rope.theta, new_rope.theta);
  EXPECT_EQ(old_rope.factor, new_rope.factor);
  EXPECT_EQ(old_rope.original_max_position_embeddings, new_rope.original_max_position_embeddings);
}

TEST(ModelSpec, Llama3RopeFallsBackToTheModelsContext) {
  const ModelSpec spec = parse(config_text(
      "LlamaForCausalLM", R"(, "max_position_embeddings": 512, "rope_scaling": {"rope_type":
      "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4})"));
  EXPECT_EQ(spec.rope.original_max_position_embeddings, 512);
}

TEST(ModelSpec, ANullSlidingWindowTurnsMistralsWindowOff) {
  EXPECT_EQ(windows(parse(config_text("MistralForCausalLM", R"(, "sliding_window": null)"))),
            Windows(4, 0));
  EXPECT_EQ(windows(parse(config_text("MistralForCausalLM", R"(, "sliding_window": 9)"))),
            Windows(4, 9));
}

TEST(ModelSpec, QwenWindowsStartAtMaxWindowLayersAndOnlyWhenAskedFor) {
  for (const std::string architecture : {"Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    const std::string keys = R"(, "sliding_window": 9, "max_window_layers": 3)";
    EXPECT_EQ(windows(parse(config_text(architecture, keys))), Windows(4, 0));
    EXPECT_EQ(windows(parse(config_text(architecture, keys + R"(, "use_sliding_window": true)"))),
              (Windows{0, 0, 0, 9}));
    EXPECT_EQ(windows(parse(config_text(architecture, R"(, "use_sliding_window": true,
        "max_window_layers": 0, "sliding_window": null)"))),
              Windows(4, 0));
  }
}

TEST(ModelSpec, LayerTypesDecideOverMaxWindowLayers) {
  EXPECT_EQ(windows(parse(config_text("Qwen3ForCausalLM", R"(, "use_sliding_window": true,
      "sliding_window": 7, "max_window_layers": 0, "layer_types": ["sliding_attention",
      "full_attention", "full_attention", "sliding_attention"])"))),
            (Windows{7, 0, 0, 7}));
}

TEST(ModelSpecRefusal, UnknownArchitectureNamesTheSupportedOnes) {
  expect_refusal("GemmaForCausalLM", "",
                 {"GemmaForCausalLM", "LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM",
                  "Qwen3ForCausalLM", "config.json"});
  expect_failure([] { parse("{}"); }, core::ErrorKind::kBadInput, {"architectures", "model_type"});
  expect_failure([] { parse(R"({"model_type": "gpt2"})"); }, core::ErrorKind::kBadInput, {"gpt2"});
}

TEST(ModelSpecRefusal, ModelTypeOfAnotherFamily) {
  expect_refusal("LlamaForCausalLM", R"(, "model_type": "mistral")", {"model_type", "mistral"});
}

TEST(ModelSpecRefusal, EveryKeyThatChangesTheMaths) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"hidden_act", "\"gelu\""},
      {"attention_dropout", "0.1"},
      {"pretraining_tp", "2"},
      {"quantization_config", R"({"quant_method": "gptq"})"},
      {"partial_rotary_factor", "0.5"},
      {"final_logit_softcapping", "30.0"},
      {"attn_logit_softcapping", "50.0"},
      {"query_pre_attn_scalar", "256"},
      {"embedding_multiplier", "12.0"},
      {"residual_multiplier", "0.22"},
      {"logits_scaling", "8.0"},
      {"num_local_experts", "8"},
      {"num_experts", "4"},
      {"clip_qkv", "8.0"},
      {"no_rope_layers", "[1, 0]"},
  };
  for (const Family& family : families()) {
    for (const auto& [key, value] : bad) {
      expect_refusal(family.architecture, ", \"" + key + "\": " + value, {key, "not supported"});
    }
  }
}

TEST(ModelSpecRefusal, BiasesWhereAFamilyHasNone) {
  expect_refusal("MistralForCausalLM", R"(, "attention_bias": true)", {"attention_bias"});
  for (const std::string name : {"MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    expect_refusal(name, R"(, "mlp_bias": true)", {"mlp_bias"});
  }
}

TEST(ModelSpecRefusal, RopeKindsThatAreNotSupported) {
  for (const std::string kind : {"yarn", "dynamic", "longrope", "mrope"}) {
    expect_refusal("LlamaForCausalLM", R"(, "rope_scaling": {"type": ")" + kind + R"("})",
                   {"rope_scaling.rope_type", kind, "linear"});
    expect_refusal("Qwen3ForCausalLM", R"(, "rope_parameters": {"rope_type": ")" + kind + R"("})",
                   {"rope_parameters.rope_type", kind});
  }
}

TEST(ModelSpecRefusal, IncompleteOrNestedRope) {
  expect_refusal("LlamaForCausalLM", R"(, "rope_scaling": {"rope_type": "llama3", "factor": 8})",
                 {"low_freq_factor", "high_freq_factor"});
  expect_refusal("LlamaForCausalLM", R"(, "rope_scaling": {"type": "linear"})", {"factor"});
  expect_refusal("LlamaForCausalLM", R"(, "rope_parameters": {"full_attention": {}})",
                 {"full_attention"});
  expect_refusal("LlamaForCausalLM", R"(, "rope_scaling": "linear")", {"rope_scaling"});
}

TEST(ModelSpecRefusal, AllProblemsAreInOneMessage) {
  expect_refusal("Qwen2ForCausalLM",
                 R"(, "rms_norm_eps": "tiny", "hidden_act": "gelu", "sliding_window": -3,
                    "use_sliding_window": true, "tie_word_embeddings": 1,
                    "max_window_layers": "x", "attention_dropout": 0.5, "eos_token_id": "</s>")",
                 {"rms_norm_eps", "hidden_act", "sliding_window", "tie_word_embeddings",
                  "max_window_layers", "attention_dropout", "eos_token_id"});
}

TEST(ModelSpecRefusal, SizesThatDoNotFit) {
  expect_failure(
      [] {
        parse(R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 30,
                  "num_attention_heads": 4, "num_key_value_heads": 3})");
      },
      core::ErrorKind::kBadInput, {"hidden_size 30", "num_key_value_heads 3", "head_dim 7 is odd"});
  for (const std::string value : {"0", "-1", "1.5", "\"8\"", "99999999999999"}) {
    expect_failure(
        [&] { parse(R"({"architectures": ["LlamaForCausalLM"], "vocab_size": )" + value + "}"); },
        core::ErrorKind::kBadInput, {"vocab_size", "positive integer"});
  }
  expect_failure(
      [] { parse(R"({"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 99999999})"); },
      core::ErrorKind::kBadInput, {"num_hidden_layers"});
}

TEST(ModelSpecRefusal, LayerTypesThatDoNotFit) {
  const std::string four = R"("full_attention", "full_attention", "full_attention")";
  expect_refusal("Qwen2ForCausalLM", R"(, "layer_types": [)" + four + "]", {"3 entries", "4"});
  expect_refusal("Qwen2ForCausalLM", R"(, "layer_types": [)" + four + R"(, "linear_attention"])",
                 {"linear_attention"});
  expect_refusal("Qwen2ForCausalLM", R"(, "layer_types": [)" + four + R"(, "sliding_attention"])",
                 {"use_sliding_window"});
  expect_refusal("LlamaForCausalLM", R"(, "layer_types": [)" + four + R"(, "sliding_attention"])",
                 {"sliding_attention"});
  expect_refusal("MistralForCausalLM", R"(, "layer_types": [)" + four + R"(, "full_attention"])",
                 {"contradicts"});
}

TEST(ModelSpec, ReadsTheConfigOfAFolderAndNamesItInErrors) {
  const core::TempFolder folder;
  folder.write("config.json", config_text("LlamaForCausalLM"));
  EXPECT_EQ(read_model_spec(folder.path()).num_layers(), 4);
  folder.write("config.json", config_text("T5"));
  expect_failure([&] { read_model_spec(folder.path()); }, core::ErrorKind::kBadInput,
                 {(folder.path() / "config.json").string()});
  expect_failure([] { parse("[1]"); }, core::ErrorKind::kBadInput, {"config.json", "object"});
}

TEST(AttentionPairs, AreThoseACausalMaskLeaves) {
  for (const int64_t window : {0, 1, 3, 7, 20}) {
    for (int64_t length = 0; length < 12; ++length) {
      int64_t pairs = 0;
      for (int64_t q = 0; q < length; ++q)
        for (int64_t k = 0; k <= q; ++k) pairs += window == 0 || q - k < window;
      EXPECT_EQ(attention_pairs(length, window), pairs) << length << " " << window;
    }
  }
}

}  // namespace
}  // namespace hone::models
