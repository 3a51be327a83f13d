#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "models/spec/model_spec.h"
#include "models/spec/saved_config.h"
#include "tests/support/model_failure.h"

namespace hone::models {
namespace {

ModelSpec parse(const std::string& architecture, const std::string& more) {
  const std::string text = R"({"architectures": [")" + architecture +
                           R"("], "vocab_size": 100, "hidden_size": 32, "intermediate_size": 48,
          "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2)" +
                           more + "}";
  return parse_model_spec(core::parse_json(text, "test"), "config.json");
}

std::vector<std::string> names_of_stage(const ModelSpec& spec, int64_t stage) {
  std::vector<std::string> names;
  for (const ParameterSpec& parameter : parameter_table(spec)) {
    if (parameter.stage == stage) names.push_back(parameter.name);
  }
  return names;
}

size_t place_of(const std::vector<std::string>& names, const std::string& suffix) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i].ends_with(suffix)) return i;
  }
  ADD_FAILURE() << "no " << suffix;
  return 0;
}

TEST(ParameterTable, FusedPartsAreNeighbours) {
  const ModelSpec spec = parse("LlamaForCausalLM", R"(, "attention_bias": true, "mlp_bias": true)");
  const std::vector<std::string> names = names_of_stage(spec, 1);
  for (const std::string kind : {"weight", "bias"}) {
    const size_t q = place_of(names, "q_proj." + kind);
    EXPECT_EQ(place_of(names, "k_proj." + kind), q + 1);
    EXPECT_EQ(place_of(names, "v_proj." + kind), q + 2);
    EXPECT_EQ(place_of(names, "up_proj." + kind), place_of(names, "gate_proj." + kind) + 1);
  }
  EXPECT_EQ(names.size(), 2 + 7 + 7u);
}

TEST(ParameterTable, ShapesFollowHeadsAndHeadDim) {
  const ModelSpec spec = parse("Qwen3ForCausalLM", R"(, "head_dim": 10)");
  const std::vector<std::pair<std::string, std::vector<int64_t>>> expected = {
      {"q_proj.weight", {40, 32}}, {"v_proj.weight", {20, 32}},    {"o_proj.weight", {32, 40}},
      {"k_norm.weight", {10}},     {"down_proj.weight", {32, 48}},
  };
  for (const ParameterSpec& parameter : parameter_table(spec)) {
    for (const auto& [suffix, shape] : expected) {
      if (!parameter.name.ends_with(suffix)) continue;
      EXPECT_EQ(parameter.shape, shape) << parameter.name;
    }
  }
}

TEST(ParameterTable, ATiedHeadIsNotListed) {
  EXPECT_EQ(names_of_stage(parse("LlamaForCausalLM", ""), 3),
            (std::vector<std::string>{"model.norm.weight", "lm_head.weight"}));
  EXPECT_EQ(names_of_stage(parse("LlamaForCausalLM", R"(, "tie_word_embeddings": true)"), 3),
            std::vector<std::string>{"model.norm.weight"});
}

TEST(ParameterTable, StagesAreInOrderAndNamesAreUnique) {
  const std::vector<ParameterSpec> table = parameter_table(parse("Qwen2ForCausalLM", ""));
  std::set<std::string> names;
  for (const ParameterSpec& parameter : table) names.insert(parameter.name);
  EXPECT_EQ(names.size(), table.size());
  EXPECT_TRUE(std::is_sorted(table.begin(), table.end(),
                             [](const auto& x, const auto& y) { return x.stage < y.stage; }));
  EXPECT_EQ(table.front().name, "model.embed_tokens.weight");
  EXPECT_EQ(table.front().numel(), 3200);
}

TEST(SavedConfig, DtypeIsWrittenInTheDialectThatWasRead) {
  const auto saved = [](const std::string& text, const std::string& dtype) {
    return config_to_save(core::parse_json(text, "test"), dtype).dump();
  };
  EXPECT_EQ(saved(R"({"b":1,"torch_dtype":"float32","a":2})", "bfloat16"),
            R"({"b":1,"torch_dtype":"bfloat16","a":2})");
  EXPECT_EQ(saved(R"({"b":1,"dtype":"float32","a":2})", "F16"),
            R"({"b":1,"dtype":"float16","a":2})");
  EXPECT_EQ(saved(R"({"b":1})", "float32"), R"({"b":1,"dtype":"float32"})");
  EXPECT_EQ(saved(R"({"b":[],"a":null})", ""), R"({"b":[],"a":null})");
  expect_failure([&] { saved("{}", "int8"); }, core::ErrorKind::kBadRecipe, {"int8", "bfloat16"});
}

}  // namespace
}  // namespace hone::models
