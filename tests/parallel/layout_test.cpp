#include "parallel/layout.h"

#include <gtest/gtest.h>

#include <set>

#include "core/error.h"

namespace hone::parallel {
namespace {

constexpr int64_t kStages = 32;

TEST(Layout, DefaultIsOneRankAndSound) {
  EXPECT_EQ(Layout{}.num_ranks(), 1);
  EXPECT_TRUE(layout_problems({}, 1, kStages).empty());
}

TEST(Layout, ProductMustBeTheNumberOfRanks) {
  const Layout layout{.dp_replicate = 2, .dp_shard = 2, .tp = 4};
  EXPECT_TRUE(layout_problems(layout, 16, kStages).empty());
  const auto problems = layout_problems(layout, 8, kStages);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_NE(problems[0].find("needs 16 ranks, the run has 8"), std::string::npos) << problems[0];
}

TEST(Layout, AllProblemsAreReportedAtOnceAsABadRecipe) {
  const Layout layout{.dp_replicate = 0, .cp = -3, .pp = 33};
  EXPECT_EQ(layout_problems(layout, 1, kStages).size(), 3u);
  try {
    validate_layout(layout, 1, kStages);
    FAIL();
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kBadRecipe);
    for (const char* axis : {"dp_replicate", "cp", "pp"}) {
      EXPECT_NE(std::string(error.what()).find(axis), std::string::npos) << error.what();
    }
  }
}

TEST(Layout, HugeSizesDoNotOverflow) {
  const int64_t big = int64_t{1} << 24;
  EXPECT_FALSE(
      layout_problems({.dp_replicate = big, .dp_shard = big, .cp = big, .tp = big}, 1, kStages)
          .empty());
}

TEST(Layout, RankAndPositionAreInversesAndTensorIsFastest) {
  const Layout layout{.dp_replicate = 2, .dp_shard = 3, .cp = 2, .tp = 4, .pp = 2};
  std::set<int64_t> seen;
  for (int64_t rank = 0; rank < layout.num_ranks(); ++rank) {
    const RankPosition position = rank_position(layout, rank);
    EXPECT_EQ(rank_at(layout, position), rank);
    seen.insert(((((position.pipeline * 2 + position.replicate) * 3 + position.shard) * 2 +
                  position.context) *
                 4) +
                position.tensor);
  }
  EXPECT_EQ(seen.size(), 96u);
  EXPECT_EQ(rank_position(layout, 1), (RankPosition{.tensor = 1}));
  EXPECT_EQ(rank_position(layout, 95).pipeline, 1);
  EXPECT_THROW(rank_position(layout, 96), core::Error);
}

TEST(Layout, ReplicasAreTheRanksTheOtherSizesLeaveOver) {
  const Layout given{.dp_shard = 2, .cp = 3, .tp = 2, .pp = 2};
  const FilledLayout filled = fill_dp_replicate(given, 120);
  EXPECT_TRUE(filled.problems.empty());
  EXPECT_EQ(filled.layout, (Layout{.dp_replicate = 5, .dp_shard = 2, .cp = 3, .tp = 2, .pp = 2}));
  EXPECT_TRUE(layout_problems(filled.layout, 120, kStages).empty());
  EXPECT_EQ(fill_dp_replicate({}, 7).layout.dp_replicate, 7);
}

TEST(Layout, SizesThatDoNotDivideTheRanksShowTheEquation) {
  EXPECT_EQ(fill_dp_replicate({.dp_shard = 2}, 3).problems,
            std::vector<std::string>{
                "dp_shard 2 x cp 1 x tp 1 x pp 1 = 2 does not divide the run's 3 ranks"});
  EXPECT_EQ(fill_dp_replicate({.tp = 2, .pp = 2}, 1).problems,
            std::vector<std::string>{
                "dp_shard 1 x cp 1 x tp 2 x pp 2 = 4 does not divide the run's 1 rank"});
}

TEST(Layout, SizesThatAreNoneAreNamedBeforeAnythingIsDivided) {
  const Layout bad{.dp_shard = 0, .cp = -1};
  EXPECT_EQ(fill_dp_replicate(bad, 4).problems.size(), 2u);
  EXPECT_EQ(fill_dp_replicate(bad, 4).layout, bad);
  EXPECT_EQ(size_problems(bad).size(), 2u);
  const int64_t big = int64_t{1} << 24;
  const Layout huge{.dp_shard = big, .cp = big, .tp = big, .pp = big};
  EXPECT_EQ(fill_dp_replicate(huge, 4).problems.size(), 1u);
  EXPECT_EQ(size_problems(huge).size(), 1u);
  EXPECT_TRUE(size_problems({.dp_replicate = 3, .tp = 5}).empty());
}

TEST(Layout, JsonRoundTripsAndBadJsonIsNamed) {
  const Layout layout{.dp_replicate = 2, .dp_shard = 3, .cp = 5, .tp = 7, .pp = 11};
  EXPECT_EQ(layout_from_json(layout_to_json(layout), "m"), layout);
  core::Json json = layout_to_json(layout);
  json["tp"] = 0;
  EXPECT_THROW(layout_from_json(json, "m"), core::Error);
  json.erase("tp");
  EXPECT_THROW(layout_from_json(json, "m"), core::Error);
  EXPECT_THROW(layout_from_json(core::Json(3), "m"), core::Error);
}

TEST(Layout, DescriptionNamesOnlyTheAxesInUse) {
  EXPECT_EQ(describe_layout({}), "1 rank");
  EXPECT_EQ(describe_layout({.dp_replicate = 2, .tp = 4}), "dp_replicate 2 x tp 4");
}

}  // namespace
}  // namespace hone::parallel
