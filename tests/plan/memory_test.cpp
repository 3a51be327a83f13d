#include "recipes/plan/memory.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/plan/inputs.h"

namespace hone::recipes {
namespace {

RankMemory largest(const PlanInput& input) { return make_plan(input).memory.largest; }

TEST(PlanMemory, APeakIsNeverMoreThanItsPartsAtTheirLargest) {
  for (const parallel::Layout& layout :
       {parallel::Layout{}, {.dp_shard = 4}, {.tp = 4}, {.cp = 2, .tp = 2}, {.pp = 4}}) {
    const RankMemory rank = largest(input_of(small_spec(), layout));
    EXPECT_LE(rank.at_peak.total(), rank.most.total());
    EXPECT_GE(rank.at_peak.activations + rank.at_peak.head_chunk, 1);
    EXPECT_FALSE(rank.peak.empty());
  }
}

TEST(PlanMemory, RecomputingKeepsInputsOnly) {
  PlanInput input = input_of(small_spec(), {}, 4, 2048);
  const int64_t kept = largest(input).most.activations;
  input.recompute = true;
  EXPECT_LT(largest(input).most.activations, kept / 2);
}

TEST(PlanMemory, GatheringNeedsAFewStagesAtATimeAndOnlyWhereParametersAreSharded) {
  PlanInput input = input_of(small_spec(), {.dp_shard = 4});
  const ShardTable table = make_shard_table(input);
  const int64_t block = table.of(0, 1).trainable;
  const int64_t gathered = largest(input).most.gathered;
  EXPECT_GE(gathered, 2 * block + 4 * block);
  EXPECT_LE(gathered, 2 * (2 * block + 4 * block) + 6 * table.of(0, 0).trainable);
  input.shard_level = 1;
  EXPECT_EQ(largest(input).most.gathered, 0);
}

TEST(PlanMemory, TheFirstRankOfAPipelineHasMostMicroBatchesInFlight) {
  models::ModelSpec spec = small_spec();
  spec.vocab_size = 64;
  const PlanInput input = input_of(spec, {.pp = 4}, 8, 512);
  const auto totals = make_plan(input).memory.total_by_rank;
  EXPECT_GT(totals[0], totals[2]);
}

TEST(PlanMemory, AllRanksAreCountedAndTheLargestIsTheirMaximum) {
  const PlanInput input =
      input_of(small_spec(), {.dp_replicate = 2, .dp_shard = 2, .tp = 2, .pp = 2});
  const MemoryPlan memory = make_plan(input).memory;
  ASSERT_EQ(memory.total_by_rank.size(), 16u);
  EXPECT_EQ(*std::ranges::max_element(memory.total_by_rank), memory.largest.at_peak.total());
}

TEST(PlanMemory, WhatDoesNotFitIsSaidSo) {
  EXPECT_FALSE(make_plan(input_of(llama_70b(), {}, 1, 1024)).fits);
  EXPECT_TRUE(make_plan(input_of(llama_70b(), {.dp_shard = 8, .tp = 8}, 1, 1024)).fits);
}

}  // namespace
}  // namespace hone::recipes
