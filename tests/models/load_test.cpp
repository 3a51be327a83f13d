#include "models/load.h"

#include <gtest/gtest.h>

#include "core/json.h"
#include "models/spec/families.h"
#include "models/stage_buffers.h"
#include "tests/core/temp_folder.h"
#include "tests/support/model_failure.h"
#include "tests/support/model_run.h"

namespace hone::models {
namespace {

constexpr const char* kHead = "lm_head.weight";
constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kQuery = "model.layers.0.self_attn.q_proj.weight";

// The tensors of a golden model, to be changed and written as one file beside its config.
Tensors model_tensors(const std::string& name) {
  return read_tensors(golden_model(name) / "model.safetensors");
}

void write_model(const core::TempFolder& folder, const std::string& name, const Tensors& tensors) {
  folder.write("config.json", core::read_file(golden_model(name) / "config.json"));
  write_tensors(folder.path() / "model.safetensors", tensors);
}

const Parameter& find_parameter(const Model& model, const std::string& name) {
  for (const Stage& stage : model.stages) {
    for (const Parameter& parameter : stage.parameters) {
      if (parameter.name == name) return parameter;
    }
  }
  throw std::runtime_error("no " + name);
}

void expect_load_failure(const std::string& name, const Tensors& tensors,
                         const std::vector<std::string>& parts) {
  const core::TempFolder folder;
  write_model(folder, name, tensors);
  expect_failure([&] { load_model(folder.path(), {}); }, core::ErrorKind::kBadInput, parts);
}

TEST(Load, FrozenWeightsOfTheComputeDtypeStayInTheFileAndFusedOnesAreNeighbours) {
  const Model model = load_model(golden_model("llama"), {});
  const Tensors file = model_tensors("llama");
  const std::string mlp = "model.layers.0.mlp.", attention = "model.layers.0.self_attn.";
  const auto value = [&](const std::string& name) { return find_parameter(model, name).value; };
  for (const Stage& stage : model.stages) {
    for (const Parameter& parameter : stage.parameters) {
      EXPECT_TRUE(at::equal(parameter.value, file.at(parameter.name))) << parameter.name;
    }
  }
  const at::Tensor down = value(mlp + "down_proj.weight");
  EXPECT_TRUE(down.is_alias_of(value(kEmbedding)));
  EXPECT_TRUE(down.is_alias_of(value(mlp + "gate_proj.weight")));
  for (const std::vector<std::string>& group :
       {std::vector{attention + "q_proj", attention + "k_proj", attention + "v_proj"},
        std::vector{mlp + "gate_proj", mlp + "up_proj"}}) {
    std::vector<at::Tensor> parts;
    for (const std::string& path : group) parts.push_back(value(path + ".weight"));
    EXPECT_TRUE(adjacent_rows(parts).defined()) << group[0];
  }
}

TEST(Load, WeightsOfAnotherDtypeAreConvertedIntoABuffer) {
  const Model model = load_model(golden_model("llama"), {.compute_dtype = at::kBFloat16});
  const Tensors file = model_tensors("llama");
  for (const Stage& stage : model.stages) {
    for (const Parameter& parameter : stage.parameters) {
      EXPECT_TRUE(at::equal(parameter.value, file.at(parameter.name).to(at::kBFloat16)))
          << parameter.name;
    }
  }
}

TEST(Load, AModelOutlivesTheNameOfItsFile) {
  const core::TempFolder folder;
  write_model(folder, "llama", model_tensors("llama"));
  const Model model = load_model(folder.path(), {});
  core::remove_tree(folder.path() / "model.safetensors");
  EXPECT_TRUE(
      at::equal(find_parameter(model, kEmbedding).value, model_tensors("llama").at(kEmbedding)));
}

TEST(Load, FullFineTuningTrainsEveryTensorOnceInOneFlatBufferAStage) {
  for (const std::string name : {"llama", "llama_gqa_bias", "qwen3", "llama_untied_llama3rope"}) {
    const Model model = load_model(golden_model(name), {.train_base = true});
    const Tensors file = model_tensors(name);
    int64_t total = 0;
    for (const auto& [tensor_name, tensor] : file) total += tensor.numel();
    EXPECT_EQ(num_trainable(model), total) << name;
    EXPECT_EQ(num_parameters(model), total) << name;
    for (const Stage& stage : model.stages) {
      int64_t offset = 0;
      for (const Parameter& parameter : stage.parameters) {
        EXPECT_TRUE(at::equal(parameter.value, file.at(parameter.name))) << parameter.name;
        EXPECT_TRUE(parameter.value.is_alias_of(stage.trainable)) << parameter.name;
        EXPECT_TRUE(parameter.grad.is_alias_of(stage.grads)) << parameter.name;
        EXPECT_EQ(parameter.value.storage_offset(), offset) << parameter.name;
        EXPECT_EQ(parameter.grad.storage_offset(), offset) << parameter.name;
        offset += parameter.value.numel();
      }
      EXPECT_EQ(stage.trainable.numel(), offset);
    }
  }
}

TEST(Load, StageNamesAreThoseOfTheList) {
  const Model model = load_model(golden_model("llama"), {});
  std::vector<std::string> names;
  for (const Stage& stage : model.stages) names.push_back(stage.name);
  EXPECT_EQ(names, (std::vector<std::string>{"embed", "layers.0", "layers.1", "head"}));
  EXPECT_EQ(num_trainable(model), 0);
}

TEST(Load, ShardedEqualsSingleFile) {
  const std::filesystem::path sharded = golden_model("llama_sharded");
  Tensors tensors;
  for (const auto& entry : std::filesystem::directory_iterator(sharded)) {
    if (!entry.path().filename().string().starts_with("model-")) continue;
    for (auto& [name, tensor] : read_tensors(entry.path())) tensors[name] = tensor;
  }
  const core::TempFolder folder;
  write_model(folder, "llama_sharded", tensors);
  const Tensors from_shards = saved_tensors(load_model(sharded, {}));
  const Tensors from_one = saved_tensors(load_model(folder.path(), {}));
  ASSERT_EQ(from_shards.size(), from_one.size());
  for (const auto& [name, tensor] : from_one) {
    EXPECT_TRUE(at::equal(tensor, from_shards.at(name))) << name;
  }
}

TEST(Load, HalfPrecisionFilesAreWidenedAndSavedAsTheyWere) {
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    Tensors tensors = model_tensors("llama");
    for (auto& [name, tensor] : tensors) tensor = tensor.to(type);
    const core::TempFolder folder;
    write_model(folder, "llama", tensors);
    const Model model = load_model(folder.path(), {.train_base = true});
    EXPECT_EQ(find_parameter(model, kQuery).value.scalar_type(), at::kFloat);
    for (const auto& [name, tensor] : saved_tensors(model)) {
      EXPECT_EQ(tensor.scalar_type(), type) << name;
      EXPECT_TRUE(at::equal(tensor, tensors.at(name))) << name;
    }
    for (const auto& [name, tensor] : saved_tensors(model, "float32")) {
      EXPECT_EQ(tensor.scalar_type(), at::kFloat) << name;
    }
  }
}

TEST(Load, ComputeDtypeIsOfFrozenWeightsWhileTrainedOnesKeepFloat32Masters) {
  const Model frozen = load_model(golden_model("llama"), {.compute_dtype = at::kBFloat16});
  EXPECT_EQ(find_parameter(frozen, kQuery).value.scalar_type(), at::kBFloat16);
  EXPECT_FALSE(find_parameter(frozen, kQuery).grad.defined());
  const Model full =
      load_model(golden_model("llama"), {.compute_dtype = at::kBFloat16, .train_base = true});
  EXPECT_EQ(find_parameter(full, kQuery).value.scalar_type(), at::kFloat);
  EXPECT_EQ(find_parameter(full, kQuery).grad.scalar_type(), at::kFloat);
}

TEST(Load, TensorsToSaveHaveTheInputsNames) {
  for (const Family& family : families()) {
    const std::string name = family.model_type;
    const Tensors saved = saved_tensors(load_model(golden_model(name), {.train_base = true}));
    const Tensors file = model_tensors(name);
    ASSERT_EQ(saved.size(), file.size()) << name;
    for (const auto& [tensor_name, tensor] : file) {
      EXPECT_TRUE(at::equal(saved.at(tensor_name), tensor)) << tensor_name;
    }
  }
}

TEST(LoadRefusal, MissingAndUnexpectedTensorsAreNamedTogether) {
  Tensors tensors = model_tensors("llama");
  tensors.erase(kQuery);
  tensors["model.layers.2.extra.weight"] = at::zeros({2});
  tensors["model.norm.weight"] = at::zeros({65});
  expect_load_failure("llama", tensors,
                      {"1 missing tensors: " + std::string(kQuery),
                       "1 unexpected tensors: model.layers.2.extra.weight",
                       "model.norm.weight (got [65], expected [64])"});
}

TEST(LoadRefusal, AtMostTenNamesAreShownWithTheCount) {
  Tensors tensors = model_tensors("llama");
  for (int i = 0; i < 30; ++i) tensors["extra." + std::to_string(100 + i)] = at::zeros({1});
  try {
    const core::TempFolder folder;
    write_model(folder, "llama", tensors);
    load_model(folder.path(), {});
    FAIL() << "nothing was thrown";
  } catch (const core::Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("30 unexpected tensors"), std::string::npos) << message;
    EXPECT_NE(message.find("extra.109"), std::string::npos) << message;
    EXPECT_EQ(message.find("extra.110"), std::string::npos) << message;
  }
}

TEST(LoadRefusal, IntegerWeights) {
  Tensors tensors = model_tensors("llama");
  tensors[kQuery] = tensors[kQuery].to(at::kLong);
  expect_load_failure("llama", tensors, {"dtype other than", kQuery, "I64"});
}

TEST(LoadRefusal, ATiedHeadThatDiffersFromTheEmbedding) {
  Tensors tensors = model_tensors("llama");
  tensors[kHead] = tensors.at(kEmbedding).clone();
  const core::TempFolder folder;
  write_model(folder, "llama", tensors);
  EXPECT_EQ(saved_tensors(load_model(folder.path(), {})).count(kHead), 0u);
  tensors[kHead][3][5] += 1;
  expect_load_failure("llama", tensors, {kHead, kEmbedding, "tie_word_embeddings"});
}

TEST(LoadRefusal, AnUntiedModelWithoutItsHead) {
  Tensors tensors = model_tensors("llama_untied_llama3rope");
  tensors.erase(kHead);
  expect_load_failure("llama_untied_llama3rope", tensors, {"missing", kHead});
}

TEST(Load, RotaryBuffersOfOldFilesAreIgnored) {
  Tensors tensors = model_tensors("llama");
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = at::zeros({8});
  const core::TempFolder folder;
  write_model(folder, "llama", tensors);
  EXPECT_NO_THROW(load_model(folder.path(), {}));
}

TEST(LoadRefusal, AMissingShardIsNamed) {
  const core::TempFolder folder;
  for (const auto& entry : std::filesystem::directory_iterator(golden_model("llama_sharded"))) {
    if (!entry.is_regular_file()) continue;
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("model-00002")) folder.write(name, core::read_file(entry.path()));
  }
  try {
    load_model(folder.path(), {});
    FAIL() << "nothing was thrown";
  } catch (const core::Error& error) {
    EXPECT_NE(std::string(error.what()).find("model-00002"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace hone::models
