// A folder with the files that recipes of these tests name, and what a recipe says when it is read
// there.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "recipes/recipe.h"
#include "tests/support/process.h"

namespace hone::recipes {

// Every test runs in a folder of its own, because paths in a recipe start at the working directory.
class RecipeTest : public testing::Test {
 protected:
  RecipeTest() : before_(std::filesystem::current_path()) {
    test::write_text(folder_ / "data/train.jsonl", "{}\n");
    test::write_text(folder_ / "data/test.jsonl", "{}\n");
    std::filesystem::current_path(folder_.path());
  }
  ~RecipeTest() override { std::filesystem::current_path(before_); }

  Recipe read(const std::string& text, const std::vector<std::string>& overrides = {},
              int64_t num_ranks = 1) const {
    return parse_recipe(text, "r.yaml", {.overrides = overrides, .num_ranks = num_ranks});
  }

  // The problems of a bad recipe, one a line, without the count that leads them.
  std::vector<std::string> problems(const std::string& text,
                                    const std::vector<std::string>& overrides = {},
                                    int64_t num_ranks = 1) const {
    try {
      read(text, overrides, num_ranks);
    } catch (const core::Error& e) {
      EXPECT_EQ(e.exit_code(), 78) << e.what();
      std::vector<std::string> lines;
      std::istringstream stream(e.what());
      for (std::string line; std::getline(stream, line);) lines.push_back(line);
      lines.erase(lines.begin());
      return lines;
    }
    return {};
  }

  // The only problem of a recipe that is sound but for `lines`, which start at line 5.
  std::string problem(const std::string& lines, const std::vector<std::string>& overrides = {},
                      int64_t num_ranks = 1) const {
    const auto found = problems(kSound + lines, overrides, num_ranks);
    EXPECT_EQ(found.size(), 1u) << (found.empty() ? "" : found[1]);
    return found.empty() ? "" : found[0];
  }

  static inline const std::string kSound =
      "recipe: sft\n"
      "model_name_or_path: owner/model\n"
      "datasets: [{path: data/train.jsonl}]\n"
      "output_dir: runs/x\n";

  test::TemporaryFolder folder_;

 private:
  std::filesystem::path before_;
};

// Every recipe of configs/: all but what says where a recipe runs.
inline std::vector<std::filesystem::path> committed_recipes(const std::filesystem::path& source) {
  std::vector<std::filesystem::path> recipes;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(source / "configs")) {
    const std::string folder = entry.path().parent_path().filename();
    const bool says_where = folder == "clusters" || folder == "hardware";
    if (entry.path().extension() == ".yaml" && !says_where) recipes.push_back(entry.path());
  }
  return recipes;
}

inline const std::string kWholeRecipe = R"(recipe: sft
model_name_or_path: HuggingFaceTB/SmolLM2-135M-Instruct   # folder in HF layout, or an id
model_revision: main
dtype: float32
adapter: {type: lora, r: 16, lora_alpha: 32, lora_dropout: 0.0, target_modules: all-linear}
datasets: [{path: data/train.jsonl, format: messages}]
eval_datasets: [{path: data/test.jsonl, format: messages}]
max_length: 1024
packing: true
assistant_only_loss: true
micro_batch_size: 1
gradient_accumulation_steps: 4
learning_rate: 2.0e-4
lr_scheduler_type: cosine
warmup_ratio: 0.03
max_steps: 100
seed: 42
output_dir: runs/demo
logging_steps: 1
eval_steps: 50
save_steps: 50
save_total_limit: 2
push_to_hub: true
hub_model_id: me/smollm2-debian
)";

}  // namespace hone::recipes
