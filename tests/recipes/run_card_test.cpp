#include "recipes/run_card.h"

#include "data/token_cache.h"
#include "tests/recipes/support.h"

namespace hone::recipes {
namespace {

using RunCard = RecipeTest;

data::TokenCache make_cache(const std::filesystem::path& folder) {
  data::TokenCacheWriter writer(folder, "key");
  writer.append({{1, 2}, {0, 1}});
  writer.finish({.num_rows = 1, .num_tokens = 2, .num_trained_tokens = 1});
  return data::TokenCache::open(folder);
}

TEST_F(RunCard, SaysWhatWasMeasuredOnWhatAndHow) {
  const Recipe recipe = read(kWholeRecipe);
  test::write_text(folder_ / "base/README.md", "---\nlicense: apache-2.0\n---\n# base\n");
  test::write_text(folder_ / "runs/demo/metrics.jsonl",
                   "{\"step\":0,\"eval_loss\":2.5}\n"
                   "{\"step\":1,\"loss\":2.0,\"learning_rate\":1e-4,\"grad_norm\":1,\"tokens\":100,"
                   "\"tokens_per_second\":50}\n"
                   "{\"step\":2,\"loss\":1.5,\"learning_rate\":1e-4,\"grad_norm\":1,\"tokens\":"
                   "12345,\"tokens_per_second\":60}\n"
                   "{\"step\":2,\"eval_loss\":1.25}\n");
  const std::string commit(40, 'a');
  const ResolvedInputs inputs{
      .model = {.folder = folder_ / "base", .origin = hub::Origin::kLocalStore, .commit = commit}};
  const PreparedData data{make_cache(folder_ / "t"), make_cache(folder_ / "e")};
  write_run_card(recipe, inputs, data,
                 {.step = 2,
                  .last_loss = 1.5,
                  .first_eval_loss = 2.5,
                  .last_eval_loss = 1.25,
                  .dtype = "float32"});
  const std::string card = test::slurp(folder_ / "runs/demo/README.md");
  for (const char* text : {"license: apache-2.0", "base_model: HuggingFaceTB/SmolLM2-135M-Instruct",
                           "me/smollm2-debian", "loss_curve.svg", "held-out loss", "2.5", "1.25",
                           "12,345", "train.jsonl", "gradient_accumulation_steps: 4"}) {
    EXPECT_NE(card.find(text), std::string::npos) << text << " is not in\n" << card;
  }
  EXPECT_NE(card.find(commit), std::string::npos);
  EXPECT_NE(test::slurp(folder_ / "runs/demo/loss_curve.svg").find("<svg"), std::string::npos);
}

}  // namespace
}  // namespace hone::recipes
