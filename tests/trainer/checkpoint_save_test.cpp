#include "trainer/checkpoint_save.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>

#include "parallel/comm/agree.h"
#include "parallel/comm/threads.h"
#include "tests/trainer/support.h"
#include "trainer/gather.h"

namespace hone::trainer {
namespace {

// A rank's part of a model and moments with values of their own in every element: the same whole on
// any layout.
struct RankState {
  RankState(const parallel::Mesh& mesh, int64_t level, const std::string& dtype) {
    at::set_num_threads(1);
    model = models::load_model(golden("tiny-chat"),
                               {.compute_dtype = dtype == "bfloat16" ? at::kBFloat16 : at::kFloat,
                                .train_base = true,
                                .sharding = sharding_of(mesh, level)});
    optimizer = make_optimizer_state(model);
    for (size_t i = 0; i < model.stages.size(); ++i) {
      const models::KeptPart& kept = model.stages[i].kept;
      const at::Tensor numbers = at::arange(kept.range.begin, kept.range.end, at::kFloat)
                                     .mul(0.1 + static_cast<double>(i));
      kept.trainable.copy_(numbers.sin());
      if (kept.range.size() == 0) continue;
      optimizer.exp_avg[i].copy_(numbers.cos());
      optimizer.exp_avg_sq[i].copy_(numbers.cos().square());
    }
    optimizer.num_updates = 5;
    state = {.step = 5, .num_tokens = 777, .loss_sum = 0.1 + 0.2, .loss_tokens = 31, .horizon = 40};
  }

  CheckpointSource source() const {
    return {.model = model,
            .optimizer = optimizer,
            .state = state,
            .model_folder = golden("tiny-chat"),
            .save_dtype = "",
            .identity = {{"model", "tiny"}}};
  }

  models::Model model;
  OptimizerState optimizer;
  TrainerState state;
};

void finish(CheckpointSave& save) {
  do {
    save.wait();
  } while (!save.advance());
}

void save_on(const parallel::Layout& layout, int64_t level, const std::string& dtype,
             const fs::path& out) {
  parallel::run_ranks(static_cast<int>(layout.num_ranks()), [&](parallel::Communicator& world) {
    parallel::Mesh mesh = parallel::make_mesh(world, layout);
    const RankState rank(mesh, level, dtype);
    CheckpointSave save(out, rank.source(), mesh);
    finish(save);
    EXPECT_EQ(save.path(), out / "checkpoint-5");
  });
}

TEST(CheckpointSave, FilesOfAnyLayoutAreThoseOfOneRankByteForByte) {
  for (const std::string dtype : {"float32", "bfloat16"}) {
    TempFolder one;
    save_on({}, 3, dtype, one.path());
    const fs::path expected = one / "checkpoint-5";
    const std::vector<ManifestFile> files = list_sizes(expected);
    for (const auto& [layout, level] : std::vector<std::pair<parallel::Layout, int64_t>>{
             {{.dp_replicate = 3}, 3},
             {{.dp_shard = 2}, 1},
             {{.dp_shard = 3}, 2},
             {{.dp_shard = 4}, 3},
             {{.dp_replicate = 2, .dp_shard = 2}, 3}}) {
      SCOPED_TRACE(dtype + ", " + parallel::describe_layout(layout));
      TempFolder many;
      save_on(layout, level, dtype, many.path());
      const fs::path got = many / "checkpoint-5";
      EXPECT_EQ(read_manifest(got).layout, layout);
      verify_checkpoint(got);
      ASSERT_EQ(list_sizes(got).size(), files.size());
      for (const ManifestFile& file : files)
        EXPECT_TRUE(slurp(got / file.path) == slurp(expected / file.path)) << file.path;
      EXPECT_FALSE(fs::exists(many / "checkpoint-5.tmp"));
    }
  }
}

TEST(CheckpointSave, WhatChangesAfterItWasReadIsNotInTheFiles) {
  TempFolder expected, out;
  save_on({}, 3, "float32", expected.path());
  parallel::Mesh mesh = parallel::solo_mesh();
  RankState rank(mesh, 3, "float32");
  CheckpointSave save(out.path(), rank.source(), mesh);
  save.wait_until_read();
  for (models::Stage& stage : rank.model.stages) stage.kept.trainable.fill_(7);
  for (at::Tensor& moments : rank.optimizer.exp_avg) {
    if (moments.defined()) moments.fill_(7);
  }
  rank.state.num_tokens = 8;
  rank.optimizer.num_updates = 6;
  finish(save);
  for (const ManifestFile& file : list_sizes(expected / "checkpoint-5")) {
    EXPECT_TRUE(slurp(out / "checkpoint-5" / file.path) ==
                slurp(expected / "checkpoint-5" / file.path))
        << file.path;
  }
}

TEST(CheckpointSave, NothingIsPublishedBeforeAllIsWrittenAndHashed) {
  TempFolder out;
  parallel::Mesh mesh = parallel::solo_mesh();
  const RankState rank(mesh, 3, "float32");
  CheckpointSave save(out.path(), rank.source(), mesh);
  EXPECT_FALSE(fs::exists(save.path()));
  EXPECT_TRUE(fs::exists(out / "checkpoint-5.tmp"));
  save.wait();
  EXPECT_FALSE(save.advance());  // written; now it is hashed
  EXPECT_FALSE(fs::exists(save.path()));
  finish(save);
  EXPECT_TRUE(save.advance());
  EXPECT_TRUE(fs::exists(save.path() / "manifest.json"));
  EXPECT_GT(save.times().num_bytes, 0);
  EXPECT_GE(save.times().seconds, save.times().exposed_seconds);
}

TEST(CheckpointSave, AbandonedOneLeavesNothing) {
  TempFolder out;
  {
    parallel::Mesh mesh = parallel::solo_mesh();
    const RankState rank(mesh, 3, "float32");
    const CheckpointSave save(out.path(), rank.source(), mesh);
  }
  EXPECT_TRUE(fs::is_empty(out.path()));
}

TEST(CheckpointSave, MomentOfOneRankThatIsNotFiniteIsAnErrorOfAllAndLeavesNothing) {
  TempFolder out;
  std::atomic<int> num_errors = 0;
  parallel::run_ranks(2, [&](parallel::Communicator& world) {
    parallel::Mesh mesh = parallel::make_mesh(world, {.dp_shard = 2});
    RankState rank(mesh, 3, "float32");
    if (world.rank() == 1) rank.optimizer.exp_avg[1][0] = std::nanf("");
    try {
      CheckpointSave save(out.path(), rank.source(), mesh);
      ADD_FAILURE() << "nothing was found wrong";
    } catch (const parallel::AgreedError& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kNumerical);
      EXPECT_NE(std::string(error.what()).find("rank 1"), std::string::npos) << error.what();
      ++num_errors;
    }
    world.barrier();
  });
  EXPECT_EQ(num_errors, 2);
  EXPECT_TRUE(fs::is_empty(out.path()));
}

// What each layout saved, every layout loads.
TEST(CheckpointSave, AnyLayoutLoadsWhatAnyOtherSaved) {
  const std::vector<std::pair<parallel::Layout, int64_t>> layouts{
      {{}, 3}, {{.dp_shard = 2}, 1}, {{.dp_shard = 3}, 3}, {{.dp_replicate = 2, .dp_shard = 2}, 2}};
  for (const auto& [from, from_level] : layouts) {
    TempFolder out;
    save_on(from, from_level, "bfloat16", out.path());
    for (const auto& [to, to_level] : layouts) {
      SCOPED_TRACE(parallel::describe_layout(from) + " to " + parallel::describe_layout(to));
      parallel::run_ranks(static_cast<int>(to.num_ranks()), [&](parallel::Communicator& world) {
        parallel::Mesh mesh = parallel::make_mesh(world, to);
        const RankState expected(mesh, to_level, "bfloat16");
        RankState loaded(mesh, to_level, "bfloat16");
        for (models::Stage& stage : loaded.model.stages) stage.kept.trainable.zero_();
        loaded.optimizer = make_optimizer_state(loaded.model);
        const TrainerState state =
            load_checkpoint(out / "checkpoint-5", loaded.model, loaded.optimizer);
        share_parameters(loaded.model, mesh);
        EXPECT_EQ(state.num_tokens, 777);
        for (size_t i = 0; i < loaded.model.stages.size(); ++i) {
          EXPECT_TRUE(at::equal(loaded.model.stages[i].kept.trainable,
                                expected.model.stages[i].kept.trainable));
          EXPECT_TRUE(at::equal(loaded.optimizer.exp_avg[i], expected.optimizer.exp_avg[i]));
          EXPECT_TRUE(at::equal(loaded.optimizer.exp_avg_sq[i], expected.optimizer.exp_avg_sq[i]));
        }
      });
    }
  }
}

}  // namespace
}  // namespace hone::trainer
