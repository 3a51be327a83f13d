#include "parallel/comm/mesh.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "core/error.h"
#include "parallel/comm/checked.h"
#include "parallel/comm/threads.h"
#include "tests/comm/mesh_case.h"

namespace hone::parallel {
namespace {

class MeshOf : public testing::TestWithParam<Layout> {};

TEST_P(MeshOf, GroupsPartsAndPlacesAreThoseOfTheLayout) {
  const Layout layout = GetParam();
  run_ranks(static_cast<int>(layout.num_ranks()),
            [&](Communicator& world) { test::check_mesh(world, layout); });
}

TEST_P(MeshOf, RanksMakeItWithTheSameCalls) {
  const Layout layout = GetParam();
  run_ranks(static_cast<int>(layout.num_ranks()),
            [&](Communicator& world) { test::check_mesh(checked(world), layout); });
}

INSTANTIATE_TEST_SUITE_P(Layouts, MeshOf,
                         testing::Values(Layout{}, Layout{.dp_replicate = 2},
                                         Layout{.dp_replicate = 4}, Layout{.dp_shard = 2},
                                         Layout{.dp_shard = 3}, Layout{.dp_shard = 4},
                                         Layout{.dp_replicate = 2, .dp_shard = 2},
                                         Layout{.dp_replicate = 2, .dp_shard = 3}, Layout{.tp = 2},
                                         Layout{.cp = 3}, Layout{.pp = 2}, Layout{.pp = 3},
                                         Layout{.pp = 4}, Layout{.pp = 5}, Layout{.cp = 2, .tp = 2},
                                         Layout{.dp_shard = 2, .cp = 2}, Layout{.tp = 2, .pp = 3},
                                         Layout{.dp_replicate = 2, .tp = 2, .pp = 2},
                                         Layout{.dp_shard = 2, .cp = 2, .tp = 2}),
                         [](const auto& info) {
                           const Layout& l = info.param;
                           return "replicate" + std::to_string(l.dp_replicate) + "_shard" +
                                  std::to_string(l.dp_shard) + "_cp" + std::to_string(l.cp) +
                                  "_tp" + std::to_string(l.tp) + "_pp" + std::to_string(l.pp);
                         });

// Neighbours shard, so that what moves most stays on one machine.
TEST(Mesh, TwoByTwoRanksByHand) {
  run_ranks(4, [](Communicator& world) {
    const Mesh mesh = make_mesh(world, {.dp_replicate = 2, .dp_shard = 2});
    EXPECT_EQ(mesh.shard.rank(), world.rank() % 2);
    EXPECT_EQ(mesh.replicate.rank(), world.rank() / 2);
    EXPECT_EQ(mesh.data_rank(), world.rank());
  });
}

TEST(Mesh, AMiddleOfThePipelineIsNoEnd) {
  run_ranks(6, [](Communicator& world) {
    const Mesh mesh = make_mesh(world, {.tp = 2, .pp = 3});
    EXPECT_EQ(mesh.tensor.rank(), world.rank() % 2);
    EXPECT_EQ(mesh.pipeline.rank(), world.rank() / 2);
    EXPECT_EQ(mesh.ends.size(), world.rank() / 2 == 1 ? 1 : 2);
    EXPECT_EQ(mesh.leads(), world.rank() % 2 == 0);
  });
}

TEST(Mesh, OneRankIsAloneInEveryGroup) {
  const Mesh mesh = solo_mesh();
  EXPECT_EQ(mesh.host.size(), 1);
  EXPECT_EQ(mesh.shard.size(), 1);
  EXPECT_EQ(mesh.replicate.size(), 1);
  EXPECT_EQ(mesh.data_size(), 1);
  EXPECT_EQ(mesh.data_rank(), 0);
  EXPECT_TRUE(mesh.leads());
  EXPECT_TRUE(mesh.uses.empty());
}

TEST(Mesh, ALayoutOfAnotherNumberOfRanksIsRefusedOnEveryRank) {
  std::atomic<int> refused{0};
  run_ranks(2, [&](Communicator& world) {
    for (const Layout& layout : {Layout{}, {.dp_replicate = 4}, {.dp_shard = 3}}) {
      try {
        make_mesh(world, layout);
      } catch (const core::Error& error) {
        EXPECT_EQ(error.kind(), core::ErrorKind::kInternal);
        EXPECT_EQ(error.detail().got, "2 ranks");
        EXPECT_EQ(error.detail().expected, describe_layout(layout));
        ++refused;
      }
    }
    world.barrier();  // nothing of it is left under way
  });
  EXPECT_EQ(refused, 6);
}

}  // namespace
}  // namespace hone::parallel
