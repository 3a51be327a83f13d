// Checkpoints between layouts that split layers, tokens or stages: what is read and written again
// is the same bytes.
#include <gtest/gtest.h>

#include "models/spec/shard_plan.h"
#include "parallel/comm/threads.h"
#include "tests/trainer/made_model.h"
#include "tests/trainer/support.h"
#include "trainer/checkpoint_save.h"
#include "trainer/gather.h"

namespace hone::trainer {
namespace {

enum class Training { kFull, kLora, kLoraEverywhere };  // the last on embedding and head too

struct Trained {
  std::string model = "tiny-chat";  // or of made_model.h
  Training training = Training::kFull;
  std::string dtype = "float32";  // to compute with
  std::string save_dtype = {};    // of weights; where it loses bits, masters are in state/
};

struct Split {
  parallel::Layout layout;
  int64_t level = 3;
  int64_t chunks = 1;
};

// One rank's part of the model of a run, as it is loaded for training.
class RankModel {
 public:
  RankModel(const Trained& trained, const fs::path& folder, const parallel::Mesh& mesh,
            const Split& split)
      : folder_(folder) {
    at::set_num_threads(1);
    parallel::Pipeline pipeline;
    if (split.layout.pp > 1) {
      const auto costs = models::stage_costs(models::read_model_spec(folder), 48);
      pipeline = parallel::make_pipeline(costs, split.layout.pp, split.chunks);
    }
    const bool is_lora = trained.training != Training::kFull;
    models::LoadOptions options{
        .compute_dtype = trained.dtype == "bfloat16" ? at::kBFloat16 : at::kFloat,
        .train_base = !is_lora,
        .sharding = sharding_of(mesh, split.level, pipeline),
        .groups = compute_groups(mesh)};
    if (is_lora) options.adapter.r = 4;
    if (trained.training == Training::kLoraEverywhere)
      options.adapter.target_modules = {"q_proj", "v_proj", "down_proj", "embed_tokens", "lm_head"};
    model_ = models::load_model(folder, options);
    optimizer_ = make_optimizer_state(model_);
    fill(0);
  }

  // Values of their own in every element that this rank keeps; none where `scale` is 0.
  void fill(double scale) {
    for (size_t i = 0; i < model_.stages.size(); ++i) {
      const models::KeptPart& kept = model_.stages[i].kept;
      if (kept.range.size() == 0) continue;
      const at::Tensor numbers = at::arange(kept.range.begin, kept.range.end, at::kFloat)
                                     .mul(scale * (0.1 + static_cast<double>(i)));
      kept.trainable.copy_(numbers.sin());
      optimizer_.exp_avg[i].copy_(numbers.sin().neg());
      optimizer_.exp_avg_sq[i].copy_(numbers.sin().square());
    }
  }

  void save(const fs::path& out, const std::string& save_dtype, const TrainerState& state,
            parallel::Mesh& mesh) {
    CheckpointSave save(out,
                        {.model = model_,
                         .optimizer = optimizer_,
                         .state = state,
                         .model_folder = folder_,
                         .save_dtype = save_dtype,
                         .identity = {{"model", "small"}}},
                        mesh);
    do {
      save.wait();
    } while (!save.advance());
  }

  TrainerState load(const fs::path& checkpoint) {
    return load_checkpoint(checkpoint, model_, optimizer_);
  }

 private:
  const fs::path folder_;
  models::Model model_;
  OptimizerState optimizer_;
};

void expect_same_checkpoint(const fs::path& expected, const fs::path& got,
                            const parallel::Layout& layout) {
  verify_checkpoint(got);
  EXPECT_EQ(read_manifest(got).layout, layout);
  const std::vector<ManifestFile> files = list_sizes(expected);
  ASSERT_EQ(list_sizes(got).size(), files.size());
  for (const ManifestFile& file : files)
    EXPECT_TRUE(slurp(got / file.path) == slurp(expected / file.path)) << file.path;
}

// Saved by one rank, then loaded and saved again at once by the ranks of every layout.
void expect_same_bytes(const Trained& trained, const std::vector<Split>& splits) {
  const TempFolder made, one;
  const bool is_golden = trained.model == "tiny-chat";
  if (!is_golden) make_model(trained.model, made.path());
  const fs::path folder = is_golden ? golden(trained.model) : made.path();
  parallel::Mesh solo = parallel::solo_mesh();
  RankModel whole(trained, folder, solo, {});
  whole.fill(1);
  whole.save(one.path(), trained.save_dtype,
             {.step = 5, .num_tokens = 777, .loss_sum = 0.1 + 0.2, .loss_tokens = 31}, solo);
  EXPECT_EQ(fs::exists(one / "checkpoint-5" / "state" / "master.safetensors"),
            !trained.save_dtype.empty());
  for (const Split& split : splits) {
    SCOPED_TRACE(trained.model + ", " + trained.dtype + ", saved as " + trained.save_dtype +
                 ", training " + std::to_string(static_cast<int>(trained.training)) + ", " +
                 parallel::describe_layout(split.layout) + " level " + std::to_string(split.level) +
                 ", chunks " + std::to_string(split.chunks));
    const TempFolder again;
    parallel::run_ranks(static_cast<int>(split.layout.num_ranks()),
                        [&](parallel::Communicator& world) {
                          parallel::Mesh mesh = parallel::make_mesh(world, split.layout);
                          RankModel part(trained, folder, mesh, split);
                          const TrainerState state = part.load(one / "checkpoint-5");
                          part.save(again.path(), trained.save_dtype, state, mesh);
                        });
    expect_same_checkpoint(one / "checkpoint-5", again / "checkpoint-5", split.layout);
  }
}

// Two key/value heads, two layers, an embedding that is the head too.
const std::vector<Split> kOfTwo = {
    {{.tp = 2}},
    {{.cp = 2}},
    {{.pp = 2}},
    {{.tp = 2, .pp = 2}},
    {{.dp_shard = 2, .tp = 2}},
    {{.dp_shard = 2, .tp = 2}, 1},
    {{.dp_replicate = 2, .cp = 2}, 2},
    {{.tp = 4}},  // key/value heads that two ranks hold
};

void expect_same_bytes_of_every_dtype(Training training) {
  expect_same_bytes({.training = training}, kOfTwo);
  expect_same_bytes({.training = training, .dtype = "bfloat16"}, kOfTwo);
  expect_same_bytes({.training = training, .dtype = "bfloat16", .save_dtype = "bfloat16"}, kOfTwo);
}

TEST(CheckpointLayouts, FullFineTuningGoesThroughEverySplitUnchanged) {
  expect_same_bytes_of_every_dtype(Training::kFull);
}

TEST(CheckpointLayouts, AdaptersGoThroughEverySplitUnchanged) {
  expect_same_bytes_of_every_dtype(Training::kLora);
  expect_same_bytes_of_every_dtype(Training::kLoraEverywhere);
}

TEST(CheckpointLayouts, SizesThatNothingDividesGoThroughUnchanged) {
  for (const std::string model : {"nine", "nine_tied"}) {
    for (const Training training : {Training::kFull, Training::kLora, Training::kLoraEverywhere}) {
      expect_same_bytes({.model = model, .training = training}, {{{.tp = 3}},
                                                                 {{.cp = 3}},
                                                                 {{.pp = 3}},
                                                                 {{.dp_shard = 2, .tp = 3}},
                                                                 {{.tp = 3, .pp = 2}, 3, 2}});
    }
  }
}

TEST(CheckpointLayouts, BiasesGoThroughEverySplitUnchanged) {
  for (const Training training : {Training::kFull, Training::kLora})
    expect_same_bytes({.model = "eight_bias", .training = training},
                      {{{.tp = 2}}, {{.tp = 4}}, {{.cp = 2, .tp = 2, .pp = 2}, 3, 2}});
}

}  // namespace
}  // namespace hone::trainer
