#include "recipes/pipeline_plan.h"

#include <gtest/gtest.h>

namespace hone::recipes {
namespace {

// Blocks that cost so much more than the head that chunks get as many each.
models::ModelSpec spec_of(size_t num_layers) {
  models::ModelSpec spec{.vocab_size = 2,
                         .hidden_size = 64,
                         .intermediate_size = 256,
                         .num_heads = 4,
                         .num_kv_heads = 4,
                         .head_dim = 16};
  spec.layers.resize(num_layers);
  return spec;
}

Recipe recipe_of(int64_t pp, int64_t chunks, int64_t accumulation) {
  Recipe recipe;
  recipe.layout.pp = pp;
  recipe.parallel.chunks_per_rank = chunks;
  recipe.accumulation = accumulation;
  recipe.loader.max_length = 64;
  return recipe;
}

TEST(PipelinePlan, WithoutAPipelineAllStagesAreOnOneRankAndNobodyWaits) {
  const Recipe recipe = recipe_of(1, 1, 4);
  EXPECT_EQ(pipeline_of(recipe, spec_of(4)), parallel::whole_pipeline(6));
  EXPECT_EQ(pipeline_bubble(recipe), 0);
  EXPECT_EQ(layout_text(recipe, spec_of(4)), "1 rank");
}

TEST(PipelinePlan, MoreMicroBatchesAndMoreChunksWaitLess) {
  EXPECT_DOUBLE_EQ(pipeline_bubble(recipe_of(4, 1, 1)), 3.0 / 4);
  EXPECT_DOUBLE_EQ(pipeline_bubble(recipe_of(4, 1, 9)), 3.0 / 12);
  EXPECT_DOUBLE_EQ(pipeline_bubble(recipe_of(4, 2, 9)), 3.0 / 21);
}

TEST(PipelinePlan, NamesTheStagesOfEveryRankAndTheBubble) {
  EXPECT_EQ(
      layout_text(recipe_of(2, 1, 4), spec_of(4)),
      "pp 2; stages 0-2 on pp rank 0, 3-5 on pp rank 1; bubble (2 - 1) / (4 micro-batches x 1 "
      "+ 2 - 1) = 20.0 %, 20.0 % by the costs of these stages");
  EXPECT_EQ(layout_text(recipe_of(2, 2, 4), spec_of(4)),
            "pp 2; stages 0-1 and 3 on pp rank 0, 2 and 4-5 on pp rank 1; bubble (2 - 1) / (4 "
            "micro-batches x 2 + 2 - 1) = 11.1 %, 11.1 % by the costs of these stages");
  EXPECT_EQ(layout_text(recipe_of(2, 2, 3), std::nullopt),
            "pp 2; 2 chunks a rank; bubble (2 - 1) / (3 micro-batches x 2 + 2 - 1) = 14.3 %");
}

TEST(PipelinePlan, LongRowsOfACostlyHeadMoveLayersAwayFromIt) {
  models::ModelSpec spec = spec_of(6);
  spec.vocab_size = 1000000;
  EXPECT_EQ(pipeline_of(recipe_of(2, 1, 4), spec).chunk_begins, (std::vector<int64_t>{0, 6}));
}

TEST(PipelinePlan, AChunkThatCostsMoreThanTheOthersIsWaitedFor) {
  const Recipe recipe = recipe_of(2, 1, 4);
  EXPECT_NEAR(bubble_of_stages(recipe, spec_of(4)), pipeline_bubble(recipe), 0.01);
  models::ModelSpec spec = spec_of(6);
  spec.vocab_size = 1000000;
  EXPECT_GT(bubble_of_stages(recipe, spec), 0.4) << "rank 0 waits for the head";
}

TEST(PipelinePlan, MoreMicroBatchesThanCanBeRunThroughAreNot) {
  EXPECT_TRUE(layout_text(recipe_of(2, 1, int64_t{1} << 40), spec_of(4)).ends_with("= 0.0 %"));
}

}  // namespace
}  // namespace hone::recipes
