#include "recipes/plan/shard_table.h"

#include <gtest/gtest.h>

#include "tests/plan/inputs.h"

namespace hone::recipes {
namespace {

TEST(ShardTable, CountsParametersExactly) {
  EXPECT_EQ(make_shard_table(input_of(llama_70b(), {})).num_parameters, 70553706496);
  EXPECT_EQ(make_shard_table(input_of(llama_8b(), {})).num_parameters, 8030261248);
}

TEST(ShardTable, ATiedHeadIsCountedOnce) {
  models::ModelSpec spec = small_spec();
  const int64_t untied = make_shard_table(input_of(spec, {})).num_parameters;
  spec.tie_word_embeddings = true;
  const ShardTable tied = make_shard_table(input_of(spec, {}));
  EXPECT_EQ(untied - tied.num_parameters, spec.vocab_size * spec.hidden_size);
  EXPECT_EQ(tied.stages.back().shares_with, 0);
}

TEST(ShardTable, AdaptersTrainAndTheRestIsFrozen) {
  PlanInput input = input_of(small_spec(), {});
  input.adapter = {.r = 4, .target_modules = {"q_proj"}};
  const ShardTable table = make_shard_table(input);
  const int64_t of_layer = 4 * 64 + 64 * 4;
  EXPECT_EQ(table.num_trainable, 8 * of_layer);
  EXPECT_EQ(table.of(0, 1).trainable, of_layer);
  EXPECT_EQ(table.of(0, 0).trainable, 0);
  EXPECT_EQ(table.of(0, 0).frozen, 256 * 64);
}

TEST(ShardTable, SlicesOfTheTensorAxisMakeUpTheWholeWhereNothingIsShared) {
  const ShardTable whole = make_shard_table(input_of(small_spec(), {}));
  const ShardTable cut = make_shard_table(input_of(small_spec(), {.tp = 4}));
  for (size_t stage = 0; stage < whole.stages.size(); ++stage) {
    int64_t matrices = 0;
    for (int64_t rank = 0; rank < 4; ++rank) matrices += cut.of(rank, stage).trained_matrix;
    EXPECT_EQ(matrices, whole.of(0, stage).trained_matrix) << stage;
  }
}

TEST(KeptBytes, LevelsKeepWhatZeroSays) {
  const parallel::Layout layout{.dp_shard = 4};
  PlanInput input = input_of(small_spec(), layout);
  input.is_bfloat16 = false;
  const int64_t count = make_shard_table(input).num_parameters;
  const auto of_level = [&](int64_t level) {
    input.shard_level = level;
    KeptBytes sum;
    for (const KeptBytes& rank : kept_bytes(input, make_shard_table(input))) {
      sum.parameters += rank.parameters;
      sum.gradients += rank.gradients;
      sum.optimizer += rank.optimizer;
    }
    return sum;
  };
  EXPECT_EQ(of_level(1).parameters, 4 * 4 * count);
  EXPECT_EQ(of_level(1).gradients, 4 * 4 * count);
  EXPECT_EQ(of_level(1).optimizer, 8 * count);
  EXPECT_EQ(of_level(2).gradients, 4 * count);
  EXPECT_EQ(of_level(3).parameters, 4 * count);
  EXPECT_EQ(of_level(3).optimizer, 8 * count);
}

TEST(KeptBytes, BothEndsOfAPipelineHoldATiedEmbedding) {
  PlanInput input = input_of(small_spec(), {.pp = 2});
  input.spec.tie_word_embeddings = true;
  const auto ranks = kept_bytes(input, make_shard_table(input));
  const int64_t sum = ranks[0].optimizer + ranks[1].optimizer;
  const int64_t embedding = input.spec.vocab_size * input.spec.hidden_size;
  EXPECT_EQ(sum, 8 * (make_shard_table(input).num_parameters + embedding));
}

}  // namespace
}  // namespace hone::recipes
