#include "recipes/plan/step_time.h"

#include <gtest/gtest.h>

#include "tests/plan/inputs.h"

namespace hone::recipes {
namespace {

TimePlan time_of(const PlanInput& input) { return make_plan(input).time; }

TEST(StageFlopsOfAPlan, FullTrainingIsSixForEveryWeightAndTokenBesideAttention) {
  const PlanInput input = input_of(small_spec(), {});
  const ShardTable table = make_shard_table(input);
  const auto flops = stage_flops(input, table);
  const double tokens = 64, pairs = 64.0 * 65 / 2, width = 64;
  const auto matrix = static_cast<double>(table.of(0, 1).trained_matrix);
  EXPECT_DOUBLE_EQ(flops[1].forward, 2 * matrix * tokens + 4 * pairs * width);
  EXPECT_DOUBLE_EQ(flops[1].scores, 4 * pairs * width);
  EXPECT_DOUBLE_EQ(flops[1].backward, 4 * matrix * tokens + 8 * pairs * width);
  EXPECT_EQ(flops[0].forward, 0);
  EXPECT_DOUBLE_EQ(flops.back().forward, 2.0 * 256 * 64 * tokens);
}

TEST(StageFlopsOfAPlan, FrozenWeightsHaveNoGradientOfTheirOwn) {
  PlanInput input = input_of(small_spec(), {});
  input.adapter = {.r = 4};
  const ShardTable table = make_shard_table(input);
  const auto flops = stage_flops(input, table);
  const double tokens = 64, pairs = 64.0 * 65 / 2, width = 64;
  const auto frozen = static_cast<double>(table.of(0, 1).frozen_matrix),
             trained = static_cast<double>(table.of(0, 1).trained_matrix);
  EXPECT_DOUBLE_EQ(flops[1].backward,
                   2 * frozen * tokens + 4 * trained * tokens + 8 * pairs * width);
}

TEST(PlanTime, RanksThatShareAModelShareItsWork) {
  const TimePlan one = time_of(input_of(llama_8b(), {}, 8, 4096));
  for (const parallel::Layout& layout :
       {parallel::Layout{.tp = 2}, {.cp = 2}, {.pp = 2}, {.dp_shard = 2}, {.dp_replicate = 2}}) {
    PlanInput input = input_of(llama_8b(), layout, 8 / layout.data_parallel_size(), 4096);
    const TimePlan two = time_of(input);
    EXPECT_NEAR(two.step_flops / one.step_flops, 1, 1e-3) << parallel::describe_layout(layout);
    EXPECT_LT(two.seconds, 0.75 * one.seconds) << parallel::describe_layout(layout);
    EXPECT_GT(two.seconds, 0.5 * one.seconds) << parallel::describe_layout(layout);
    ASSERT_FALSE(two.axes.empty());
    for (const AxisTraffic& axis : two.axes) EXPECT_GT(axis.bytes, 0) << axis.name;
  }
}

TEST(PlanTime, AttentionHasARateOfItsOwnAndComputesItsScoresTwice) {
  PlanInput input = input_of(llama_8b(), {}, 1, 8192);
  const double slow = time_of(input).compute_seconds;
  const double rate = input.hardware.attention_flops(input.is_bfloat16);
  input.hardware.attention_share *= 2;
  const double pairs = 8192.0 * 8193 / 2, width = 4096, layers = 32;
  const double scores = 4 * pairs * width * layers;
  EXPECT_NEAR(slow - time_of(input).compute_seconds, 3.5 * scores / rate / 2, 1e-9 * slow);
}

TEST(PlanTime, TheExchangeOfContextIsHiddenBehindAttentionAsFarAsHeadsCanBeCut) {
  const auto share = [](int64_t cp) {
    const AxisTraffic axis = time_of(input_of(llama_8b(), {.cp = cp}, 1, 32768)).axes.front();
    EXPECT_STREQ(axis.name, "context");
    return axis.exposed / axis.seconds;
  };
  EXPECT_NEAR(share(2), 1.0 / 4, 1e-9);  // 4 of 8 KV heads
  EXPECT_NEAR(share(4), 1.0 / 2, 1e-9);
  EXPECT_NEAR(share(8), 1, 1e-9);
}

TEST(PlanTime, AnAxisBetweenNodesHasTheAdaptersOfItsRanksInANode) {
  const auto axis_of = [](const parallel::Layout& layout) {
    return time_of(input_of(llama_8b(), layout, 4, 4096)).axes.back();
  };
  const Hardware h100 = find_hardware("h100");
  EXPECT_FALSE(axis_of({.dp_replicate = 8}).crosses_nodes);
  EXPECT_EQ(axis_of({.dp_replicate = 8}).bandwidth, h100.link_bandwidth);
  EXPECT_TRUE(axis_of({.dp_replicate = 16}).crosses_nodes);
  EXPECT_EQ(axis_of({.dp_replicate = 16}).bandwidth, 8 * h100.network_bandwidth);
  EXPECT_EQ(axis_of({.dp_replicate = 4, .tp = 4}).bandwidth, 2 * h100.network_bandwidth);
  EXPECT_EQ(axis_of({.dp_replicate = 4, .tp = 8}).bandwidth, h100.network_bandwidth);
}

TEST(PlanTime, RecomputingCostsAnotherForwardOfTheBlocks) {
  PlanInput input = input_of(llama_8b(), {}, 2, 4096);
  const TimePlan without = time_of(input);
  input.recompute = true;
  const TimePlan with = time_of(input);
  EXPECT_NEAR(with.recompute_flops / with.step_flops, 1.0 / 3, 0.04);
  EXPECT_NEAR(with.compute_seconds / without.compute_seconds,
              1 + with.recompute_flops / with.step_flops, 0.01);
}

TEST(PlanTime, MoreMicroBatchesMakeTheBubbleSmaller) {
  const double few = time_of(input_of(llama_8b(), {.pp = 4}, 4, 2048)).bubble;
  const double many = time_of(input_of(llama_8b(), {.pp = 4}, 32, 2048)).bubble;
  EXPECT_NEAR(few, 3.0 / 7, 0.1);
  EXPECT_LT(many, 0.15);
  const double very_many = time_of(input_of(llama_8b(), {.pp = 4}, 1024, 2048)).bubble;
  EXPECT_LT(very_many, 0.02 + many / 8);
}

}  // namespace
}  // namespace hone::recipes
