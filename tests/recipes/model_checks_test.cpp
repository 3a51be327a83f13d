// What a recipe asks of its model that the model can't do: found where the recipe is read when the
// model is a folder, and with the same words once an id has become one.
#include "recipes/model_checks.h"

#include "tests/recipes/support.h"

namespace hone::recipes {
namespace {

const std::string kConfig =
    R"({"architectures": ["LlamaForCausalLM"], "vocab_size": 100, "hidden_size": 36,
        "intermediate_size": 48, "num_hidden_layers": 6, "num_attention_heads": 9,
        "num_key_value_heads": 3, "max_position_embeddings": 512})";

class ModelChecks : public RecipeTest {
 protected:
  ModelChecks() { test::write_text(folder_ / "model/config.json", kConfig); }

  static std::string with_folder(const std::string& lines) {
    return "recipe: sft\nmodel_name_or_path: model\ndatasets: [{path: data/train.jsonl}]\n"
           "output_dir: runs/x\n" +
           lines;
  }

  // The message for a model that is a folder, and for one that was an id when the recipe was read.
  std::vector<std::string> both_ways(const std::string& lines, int64_t num_ranks,
                                     const std::vector<std::string>& overrides = {}) const {
    std::vector<std::string> messages;
    try {
      read(with_folder(lines), overrides, num_ranks);
    } catch (const core::Error& error) {
      EXPECT_EQ(error.exit_code(), 78);
      messages.emplace_back(error.what());
    }
    try {
      require_fit(read(kSound + lines, overrides, num_ranks),
                  models::read_model_spec(folder_ / "model"));
    } catch (const core::Error& error) {
      EXPECT_EQ(error.exit_code(), 78);
      messages.emplace_back(error.what());
    }
    return messages;
  }

  void expect_message(const std::string& lines, int64_t num_ranks, const std::string& message,
                      const std::vector<std::string>& overrides = {}) const {
    EXPECT_EQ(both_ways(lines, num_ranks, overrides), std::vector<std::string>(2, message));
  }
};

TEST_F(ModelChecks, WhatFitsIsSound) {
  EXPECT_TRUE(both_ways("max_length: 512\ntensor_parallel_size: 3\ncontext_parallel_size: 3\n"
                        "pipeline_parallel_size: 3\npipeline_schedule: interleaved\n",
                        27)
                  .empty());
}

TEST_F(ModelChecks, HeadsThatDoNotDivideShowTheEquationAtTheLineOfTheKey) {
  expect_message("max_length: 512\ntensor_parallel_size: 2\n", 2,
                 "1 problem in the recipe\n"
                 "r.yaml:6: tensor_parallel_size: num_attention_heads 9 / tensor_parallel_size 2 "
                 "leaves 1: query heads must divide evenly");
}

TEST_F(ModelChecks, MoreChunksThanLayersCountTheChunksOfARank) {
  expect_message("max_length: 512\npipeline_parallel_size: 7\n", 7,
                 "1 problem in the recipe\n"
                 "r.yaml:6: pipeline_parallel_size: pipeline_parallel_size 7 x 1 chunk = 7 is more "
                 "than the model's 6 layers");
  expect_message(
      "max_length: 512\npipeline_parallel_size: 2\npipeline_schedule: interleaved\n"
      "virtual_pipeline_size: 4\n",
      2,
      "1 problem in the recipe\n"
      "r.yaml:6: pipeline_parallel_size: pipeline_parallel_size 2 x 4 chunks = 8 is more than the "
      "model's 6 layers");
}

TEST_F(ModelChecks, RowsLongerThanTheModelsPositionsAreRefusedGivenOrNot) {
  const std::string got = ": got 1024, expected at most the model's max_position_embeddings 512";
  expect_message("seed: 1\nmax_length: 1024\n", 1,
                 "1 problem in the recipe\nr.yaml:6: max_length" + got);
  expect_message("", 1, "1 problem in the recipe\nr.yaml:1: max_length" + got);
}

TEST_F(ModelChecks, AllIsToldAtOnceInLineOrderOverridesLast) {
  expect_message(
      "max_length: 600\ncontext_parallel_size: 2\n", 14,
      "3 problems in the recipe\n"
      "r.yaml:5: max_length: got 600, expected at most the model's "
      "max_position_embeddings 512\n"
      "r.yaml:6: context_parallel_size: num_attention_heads 9 / (tensor_parallel_size 1 "
      "x context_parallel_size 2) leaves 1: the ranks exchange query heads for tokens, "
      "so they must divide evenly\n"
      "--set pipeline_parallel_size: pipeline_parallel_size 7 x 1 chunk = 7 is more than "
      "the model's 6 layers",
      {"pipeline_parallel_size=7"});
}

TEST_F(ModelChecks, ComeBesideTheRecipesOtherProblems) {
  const auto found = problems(with_folder("seed: x\n"));
  ASSERT_EQ(found.size(), 2u);
  EXPECT_TRUE(found[0].starts_with("r.yaml:1: max_length: got 1024")) << found[0];
  EXPECT_TRUE(found[1].starts_with("r.yaml:5: seed")) << found[1];
}

}  // namespace
}  // namespace hone::recipes
