#include "models/spec/adapter.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/core/temp_folder.h"
#include "tests/support/model_failure.h"
#include "tests/support/model_run.h"

namespace hone::models {
namespace {

using Names = std::vector<std::string>;

ModelSpec llama_spec() { return read_model_spec(golden_model("llama")); }

Names match(const Names& targets, bool regex = false, const Names& modules_to_save = {}) {
  return match_target_modules(llama_spec(), {.r = 4,
                                             .target_modules = targets,
                                             .target_modules_is_regex = regex,
                                             .modules_to_save = modules_to_save});
}

AdapterOptions read_config(const std::string& text) {
  const core::TempFolder folder;
  folder.write("adapter_config.json", text);
  return read_adapter_config(folder.path());
}

const std::string kAttention = "model.layers.0.self_attn.";

TEST(TargetModules, AllLinearIsEveryLinearLayerButTheHead) {
  const Names matched = match({"all-linear"});
  EXPECT_EQ(matched.size(), 14u);
  EXPECT_EQ(matched.front(), kAttention + "q_proj");
  EXPECT_EQ(matched.back(), "model.layers.1.mlp.down_proj");
}

TEST(TargetModules, SuffixesMatchWholeNames) {
  EXPECT_EQ(match({"q_proj"}), (Names{kAttention + "q_proj", "model.layers.1.self_attn.q_proj"}));
  EXPECT_EQ(match({"self_attn.v_proj"}).size(), 2u);
  EXPECT_EQ(match({"model.layers.1.mlp.up_proj"}), Names{"model.layers.1.mlp.up_proj"});
  EXPECT_EQ(match({"lm_head", "embed_tokens"}), (Names{"model.embed_tokens", "lm_head"}));
  expect_failure([] { match({"proj"}); }, core::ErrorKind::kBadRecipe, {"proj", "q_proj"});
}

TEST(TargetModules, ARegularExpressionMatchesTheWholePath) {
  EXPECT_EQ(match({R"(.*\.layers\.1\..*(q|v)_proj)"}, true),
            (Names{"model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"}));
  expect_failure([] { match({"q_proj"}, true); }, core::ErrorKind::kBadRecipe, {"no module"});
  expect_failure([] { match({"(q_proj"}, true); }, core::ErrorKind::kBadRecipe,
                 {"regular expression"});
}

TEST(TargetModules, AMisspeltNameIsAnsweredWithTheNearest) {
  expect_failure([] { match({"q_prj"}); }, core::ErrorKind::kBadRecipe,
                 {"q_prj", "did you mean 'q_proj'", "down_proj", "embed_tokens"});
}

TEST(TargetModules, ModulesToSaveAreNeverAdapted) {
  EXPECT_EQ(match({"q_proj", "lm_head"}, false, {"lm_head"}).size(), 2u);
  expect_failure(
      [] {
        LoadOptions options;
        options.adapter = {.r = 2, .modules_to_save = {"lm_haed"}};
        load_model(golden_model("llama"), options);
      },
      core::ErrorKind::kBadRecipe, {"modules_to_save", "lm_haed"});
}

TEST(AdapterConfig, WrittenAndReadItIsTheSame) {
  const AdapterOptions options{.r = 8,
                               .lora_alpha = 16.5,
                               .lora_dropout = 0.1,
                               .target_modules = {"q_proj", "mlp.up_proj"},
                               .modules_to_save = {"lm_head"},
                               .use_rslora = true,
                               .base_model_name_or_path = "org/base",
                               .base_model_revision = "main"};
  const core::Json json = adapter_config_json(options, llama_spec());
  const AdapterOptions read = read_config(core::dump_json(json));
  EXPECT_EQ(read.r, 8);
  EXPECT_EQ(read.lora_alpha, 16.5);
  EXPECT_EQ(read.lora_dropout, 0.1);
  EXPECT_EQ(read.target_modules, options.target_modules);
  EXPECT_FALSE(read.target_modules_is_regex);
  EXPECT_EQ(read.modules_to_save, Names{"lm_head"});
  EXPECT_TRUE(read.use_rslora);
  EXPECT_EQ(read.base_model_name_or_path, "org/base");
  EXPECT_EQ(read.base_model_revision, "main");
  EXPECT_EQ(json["peft_type"], "LORA");
  EXPECT_EQ(json["task_type"], "CAUSAL_LM");
}

TEST(AdapterConfig, AllLinearIsWrittenOutAsNamesThatMatchTheSameModules) {
  const core::Json json = adapter_config_json({.r = 8}, llama_spec());
  const AdapterOptions read = read_config(core::dump_json(json));
  EXPECT_EQ(read.target_modules.size(), 7u);
  EXPECT_EQ(match(read.target_modules), match({"all-linear"}));
  EXPECT_TRUE(json["lora_alpha"].is_number_integer());
}

TEST(AdapterConfig, ARegularExpressionStaysAString) {
  const AdapterOptions options{
      .r = 2, .target_modules = {".*q_proj"}, .target_modules_is_regex = true};
  const AdapterOptions read =
      read_config(core::dump_json(adapter_config_json(options, llama_spec())));
  EXPECT_TRUE(read.target_modules_is_regex);
  EXPECT_EQ(read.target_modules, Names{".*q_proj"});
}

TEST(AdapterConfig, WhatIsNotSupportedIsRefusedAllAtOnce) {
  expect_failure(
      [] {
        read_config(R"({"peft_type": "IA3", "use_dora": true, "bias": "all", "r": 0,
                        "rank_pattern": {"q_proj": 3}, "lora_dropout": 2,
                        "init_lora_weights": "pissa", "target_modules": []})");
      },
      core::ErrorKind::kBadInput,
      {"IA3", "use_dora", "bias", "r: got 0", "rank_pattern", "lora_dropout", "pissa",
       "target_modules", "adapter_config.json"});
}

TEST(FreshAdapter, StartsAsTheBaseModelWithPeftsInitialisation) {
  LoadOptions options;
  options.adapter = {.r = 4, .target_modules = {"all-linear"}};
  const Model base = load_model(golden_model("llama"), {});
  const Model model = load_model(golden_model("llama"), options);
  const Batch batch = document_batch(base, {3, 1, 4, 1, 5, 9, 2, 6});
  EXPECT_EQ(max_difference(all_logits(base, batch), all_logits(model, batch)), 0);
  for (const Stage& stage : model.stages) {
    for (const Parameter& parameter : stage.parameters) {
      if (!parameter.grad.defined()) continue;
      if (parameter.name.ends_with("lora_B.weight")) {
        EXPECT_EQ(parameter.value.count_nonzero().item<int64_t>(), 0) << parameter.name;
        continue;
      }
      // Uniform in +-1 / sqrt(fan_in), which has this standard deviation.
      const double bound = 1.0 / std::sqrt(static_cast<double>(parameter.shape[1]));
      EXPECT_LE(parameter.value.abs().max().item<double>(), bound) << parameter.name;
      EXPECT_GT(parameter.value.abs().max().item<double>(), 0.9 * bound) << parameter.name;
      EXPECT_NEAR(parameter.value.std().item<double>(), bound / std::sqrt(3.0), 0.1 * bound);
    }
  }
}

TEST(FreshAdapter, SeedDecidesTheInitialisationAndModulesDiffer) {
  LoadOptions options;
  options.adapter = {.r = 4, .target_modules = {"gate_proj", "up_proj"}};
  const auto load = [&](uint64_t seed) {
    options.seed = seed;
    return saved_tensors(load_model(golden_model("llama"), options));
  };
  const Tensors first = load(1), again = load(1), other = load(2);
  const std::string mlp = "base_model.model.model.layers.0.mlp.";
  const std::string a = mlp + "gate_proj.lora_A.weight";
  EXPECT_TRUE(at::equal(first.at(a), again.at(a)));
  EXPECT_FALSE(at::equal(first.at(a), other.at(a)));
  EXPECT_FALSE(at::equal(first.at(a), first.at(mlp + "up_proj.lora_A.weight")));
}

TEST(FreshAdapter, AnAdaptedEmbeddingStartsWithZeroA) {
  LoadOptions options;
  options.adapter = {.r = 4, .target_modules = {"embed_tokens"}};
  const Tensors saved = saved_tensors(load_model(golden_model("llama"), options));
  const std::string prefix = "base_model.model.model.embed_tokens.lora_embedding_";
  EXPECT_EQ(saved.at(prefix + "A").sizes(), (at::IntArrayRef{4, 160}));
  EXPECT_EQ(saved.at(prefix + "A").count_nonzero().item<int64_t>(), 0);
  EXPECT_NEAR(saved.at(prefix + "B").std().item<double>(), 1.0, 0.2);
}

TEST(ContinuedAdapter, ReadAndSavedItIsTheSame) {
  for (const std::string name : {"llama/adapter", "llama/adapter_embed", "qwen3/adapter",
                                 "llama_untied_llama3rope/adapter_save"}) {
    const std::filesystem::path adapter = golden_model(name);
    const Model model = load_model(adapter.parent_path(), {.adapter_path = adapter});
    const Tensors file = read_tensors(adapter / "adapter_model.safetensors");
    const Tensors saved = saved_tensors(model);
    for (const auto& [key, tensor] : saved) {
      EXPECT_TRUE(at::equal(tensor, file.at(key))) << key;
    }
    for (const auto& [key, tensor] : file) {
      EXPECT_TRUE(saved.contains(key) || key.ends_with("base_layer.weight")) << key;
    }
    EXPECT_EQ(num_trainable(model), std::accumulate(saved.begin(), saved.end(), int64_t{0},
                                                    [](int64_t sum, const auto& item) {
                                                      return sum + item.second.numel();
                                                    }));
  }
}

TEST(ContinuedAdapter, OfAnotherModelIsRefusedByName) {
  expect_failure(
      [] {
        load_model(golden_model("qwen3"), {.adapter_path = golden_model("llama") / "adapter"});
      },
      core::ErrorKind::kBadInput, {"another shape", "lora_A.weight", "adapter_model.safetensors"});
}

TEST(ModulesToSave, ATiedHeadTrainedAsACopyLeavesTheEmbeddingFrozen) {
  LoadOptions options;
  options.adapter = {.r = 2, .target_modules = {"q_proj"}, .modules_to_save = {"lm_head"}};
  Model model = load_model(golden_model("llama"), options);
  const Batch batch = document_batch(model, {3, 1, 4, 1, 5, 9, 2, 6});
  const Model base = load_model(golden_model("llama"), {});
  EXPECT_EQ(max_difference(all_logits(base, batch), all_logits(model, batch)), 0);
  run_step(model, batch, 1.0);
  EXPECT_EQ(model.stages.front().trainable.numel(), 0);
  const Parameter& head = model.stages.back().parameters.front();
  EXPECT_EQ(head.name, "base_model.model.lm_head.weight");
  EXPECT_GT(head.grad.abs().sum().item<double>(), 0);
}

TEST(ModulesToSave, PartOfAFusedProjectionTrainsAsInTheWhole) {
  LoadOptions options;
  options.adapter = {.r = 2, .target_modules = {"q_proj"}, .modules_to_save = {"k_proj"}};
  Model model = load_model(golden_model("llama_gqa_bias"), options);
  Model full = load_model(golden_model("llama_gqa_bias"), {.train_base = true});
  const Batch batch = document_batch(model, {3, 1, 4, 1, 5, 9, 2, 6});
  run_step(model, batch, 1.0);
  run_step(full, batch, 1.0);
  int compared = 0;
  for (size_t i = 0; i < model.stages.size(); ++i) {
    for (const Parameter& mine : model.stages[i].parameters) {
      for (const Parameter& theirs : full.stages[i].parameters) {
        if (mine.name != "base_model.model." + theirs.name) continue;
        EXPECT_LT(relative_difference(mine.grad, theirs.grad), 1e-5) << mine.name;
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, 4);
}

}  // namespace
}  // namespace hone::models
