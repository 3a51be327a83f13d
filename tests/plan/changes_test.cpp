// Which changes and layouts a plan names.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "recipes/plan/plan_text.h"
#include "tests/plan/inputs.h"

namespace hone::recipes {
namespace {

TEST(BestChanges, WhereItDoesNotFitTheySaveMemoryAndThoseThatMakeItFitComeFirst) {
  const PlanInput input = input_of(llama_8b(), {.dp_replicate = 8}, 4, 8192);
  const Plan plan = make_plan(input);
  ASSERT_FALSE(plan.fits);
  const auto changes = best_changes(input, plan, 3);
  ASSERT_EQ(changes.size(), 3u);
  for (const Change& change : changes) EXPECT_GT(change.bytes, 0) << change.what;
  EXPECT_TRUE(std::ranges::any_of(
      changes, [](const Change& change) { return change.what == "dp_shard_size: 8"; }));
  EXPECT_TRUE(std::ranges::is_sorted(
      changes, [](const Change& a, const Change& b) { return a.fits > b.fits; }));
}

TEST(BestChanges, WhereItFitsTheySaveTimeAndStillFit) {
  PlanInput input = input_of(llama_8b(), {.dp_shard = 8}, 4, 8192);
  input.recompute = true;
  const Plan plan = make_plan(input);
  ASSERT_TRUE(plan.fits);
  const auto changes = best_changes(input, plan, 3);
  ASSERT_FALSE(changes.empty());
  EXPECT_EQ(changes[0].what, "gradient_checkpointing: false");
  for (const Change& change : changes) {
    EXPECT_GT(change.seconds, 0) << change.what;
    EXPECT_TRUE(change.fits) << change.what;
  }
}

TEST(SearchLayouts, AllThatFitComputeTheSameStepTheFastestFirst) {
  const PlanInput input = input_of(llama_8b(), {.dp_shard = 16}, 4, 4096);
  const SearchResult result = search_layouts(input);
  ASSERT_GT(result.fitting.size(), 5u);
  EXPECT_GT(result.num_tried, static_cast<int64_t>(result.fitting.size()));
  double before = 0;
  for (const Candidate& candidate : result.fitting) {
    EXPECT_EQ(candidate.input.layout.num_ranks(), 16);
    EXPECT_EQ(candidate.input.step_tokens(), input.step_tokens());
    EXPECT_LE(candidate.needed_bytes, input.hardware.memory_bytes);
    EXPECT_GE(candidate.seconds, before);
    before = candidate.seconds;
  }
}

TEST(PlanText, NamesTheCountOfParametersExactlyAndWhatFits) {
  const PlanInput input = input_of(llama_70b(), {.dp_shard = 8, .tp = 8}, 2, 4096);
  const Plan plan = make_plan(input);
  const std::string text = plan_text(input, plan, {});
  for (const char* part : {"70553706496 parameters", "64 ranks of NVIDIA H100", "gather buffers",
                           "head chunk", "fits: ", "tensor ", "dp_shard "})
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n" << text;
  const core::Json json = plan_json(input, plan, {});
  EXPECT_EQ(json["num_parameters"], 70553706496);
  EXPECT_EQ(json["memory"]["total_by_rank"].size(), 64u);
  EXPECT_DOUBLE_EQ(json["time"]["step_seconds"].get<double>(), plan.time.seconds);
}

TEST(PlanText, SaysWhatTakesTheMemoryThatThereIsNot) {
  const PlanInput input = input_of(llama_70b(), {.dp_replicate = 8}, 1, 512);
  const core::ErrorDetail detail = shortage("r.yaml", input, make_plan(input));
  EXPECT_NE(detail.got.find("on rank 0"), std::string::npos) << detail.got;
  EXPECT_NE(detail.got.find("most of it optimizer"), std::string::npos) << detail.got;
  EXPECT_EQ(detail.expected, "at most 85.5 GB (NVIDIA H100 SXM 80 GB)");
  EXPECT_NE(detail.hint.find("dp_shard"), std::string::npos) << detail.hint;
}

}  // namespace
}  // namespace hone::recipes
