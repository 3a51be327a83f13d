#include "models/merge.h"

#include <gtest/gtest.h>

#include "core/json.h"
#include "tests/core/temp_folder.h"
#include "tests/support/model_failure.h"
#include "tests/support/model_run.h"

namespace hone::models {
namespace {

class Merge : public ::testing::TestWithParam<std::string> {};

TEST_P(Merge, GivesTheLogitsOfBaseAndAdapter) {
  const std::filesystem::path adapter = golden_model(GetParam());
  const std::filesystem::path base = adapter.parent_path();
  const core::TempFolder folder;
  merge_adapter(base, adapter, folder.path() / "merged", "");
  const Model separate = load_model(base, {.adapter_path = adapter});
  const Model merged = load_model(folder.path() / "merged", {});
  const Batch batch = document_batch(merged, {3, 1, 4, 1, 5, 9, 2, 6, 53, 58, 97, 93});
  EXPECT_LT(max_difference(all_logits(merged, batch), all_logits(separate, batch)), 1e-4);
  EXPECT_GT(max_difference(all_logits(merged, batch), all_logits(load_model(base, {}), batch)),
            1e-3);
}

INSTANTIATE_TEST_SUITE_P(Adapters, Merge,
                         ::testing::Values("llama/adapter", "llama/adapter_embed",
                                           "llama_untied_llama3rope/adapter_head",
                                           "llama_untied_llama3rope/adapter_save",
                                           "llama_gqa_bias/adapter", "llama_sharded/adapter",
                                           "mistral/adapter", "qwen2/adapter", "qwen3/adapter"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

TEST(MergeFolder, KeepsShardingConfigAndTokenizerFiles) {
  const std::filesystem::path source = golden_model("llama_sharded");
  const core::TempFolder folder;
  for (const auto& entry : std::filesystem::directory_iterator(source)) {
    if (entry.is_regular_file()) {
      folder.write("base/" + entry.path().filename().string(), core::read_file(entry.path()));
    }
  }
  folder.write("base/tokenizer.json", "base");
  folder.write("base/chat_template.jinja", "base");
  folder.write("base/notes.txt", "base");
  std::filesystem::copy(source / "adapter", folder.path() / "adapter");
  folder.write("adapter/chat_template.jinja", "adapter");
  const std::filesystem::path output = folder.path() / "merged";
  merge_adapter(folder.path() / "base", folder.path() / "adapter", output, "bfloat16");

  EXPECT_TRUE(std::filesystem::exists(output / "model.safetensors.index.json"));
  EXPECT_TRUE(std::filesystem::exists(output / "model-00002-of-00003.safetensors"));
  EXPECT_EQ(core::read_file(output / "tokenizer.json"), "base");
  EXPECT_EQ(core::read_file(output / "chat_template.jinja"), "adapter");
  EXPECT_FALSE(std::filesystem::exists(output / "notes.txt"));
  core::Json expected = core::read_json_file(source / "config.json");
  expected["dtype"] = "bfloat16";
  EXPECT_EQ(core::read_file(output / "config.json"), core::dump_json(expected));
  const formats::WeightFiles files = formats::open_weight_files(output);
  for (const auto& tensor : files.tensors()) {
    EXPECT_EQ(tensor.dtype, formats::Dtype::kBF16) << tensor.name;
  }
}

TEST(MergeFolder, AnAdapterOfOneSideOfATiedModelUntiesIt) {
  const core::TempFolder folder;
  merge_adapter(golden_model("llama"), golden_model("llama/adapter_embed"),
                folder.path() / "merged", "");
  const core::Json config = core::read_json_file(folder.path() / "merged/config.json");
  EXPECT_EQ(config["tie_word_embeddings"], false);
  const Tensors merged = read_tensors(folder.path() / "merged/model.safetensors");
  const Tensors base = read_tensors(golden_model("llama") / "model.safetensors");
  EXPECT_TRUE(at::equal(merged.at("lm_head.weight"), base.at("model.embed_tokens.weight")));
}

TEST(MergeFolder, WhatIsThereIsNotOverwritten) {
  const core::TempFolder folder;
  folder.write("merged/precious.txt", "x");
  expect_failure(
      [&] {
        merge_adapter(golden_model("llama"), golden_model("llama/adapter"),
                      folder.path() / "merged", "");
      },
      core::ErrorKind::kCannotCreate, {"not empty"});
}

TEST(MergeFolder, NothingIsWrittenForAnAdapterThatDoesNotFit) {
  const core::TempFolder folder;
  expect_failure(
      [&] {
        merge_adapter(golden_model("qwen3"), golden_model("llama/adapter"),
                      folder.path() / "merged", "");
      },
      core::ErrorKind::kBadInput, {"another shape"});
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "merged"));
}

}  // namespace
}  // namespace hone::models
