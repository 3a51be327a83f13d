#include "trainer/checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/trainer/support.h"

namespace hone::trainer {
namespace {

using core::ErrorKind;

void fill(at::Tensor flat, float scale) {
  if (flat.defined() && flat.numel() > 0)
    flat.copy_(at::arange(flat.numel(), at::kFloat).mul(scale).sin());
}

// A model and moments with values of their own in every element.
struct Trained {
  explicit Trained(bool lora, at::ScalarType dtype = at::kFloat)
      : model(tiny_model(lora, 0.0, dtype)), optimizer(make_optimizer_state(model)) {
    for (size_t i = 0; i < model.stages.size(); ++i) {
      const float scale = 0.1F + static_cast<float>(i);
      fill(model.stages[i].trainable, scale);
      fill(optimizer.exp_avg[i], 2 * scale);
      fill(optimizer.exp_avg_sq[i], 3 * scale);
    }
    optimizer.num_updates = 5;
    state = {.step = 5, .num_tokens = 777, .loss_sum = 0.1 + 0.2, .loss_tokens = 31, .horizon = 40};
  }

  fs::path save(const fs::path& output_dir, const std::string& save_dtype = "") {
    return save_checkpoint(output_dir, {.model = model,
                                        .optimizer = optimizer,
                                        .state = state,
                                        .model_folder = golden("tiny-chat"),
                                        .save_dtype = save_dtype,
                                        .identity = {{"model", "tiny"}}});
  }

  models::Model model;
  OptimizerState optimizer;
  TrainerState state;
};

void expect_equal(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].defined(), b[i].defined());
    if (!a[i].defined()) continue;
    EXPECT_TRUE(at::equal(a[i], b[i])) << i;
  }
}

void expect_round_trip(bool lora, at::ScalarType dtype, const std::string& save_dtype,
                       bool wants_master) {
  TempFolder out;
  Trained trained(lora, dtype);
  const fs::path checkpoint = trained.save(out.path(), save_dtype);
  EXPECT_EQ(checkpoint.filename(), "checkpoint-5");
  EXPECT_EQ(verify_checkpoint(checkpoint).step, 5);
  EXPECT_EQ(fs::exists(checkpoint / "state/master.safetensors"), wants_master);

  models::Model model = tiny_model(lora, 0.0, dtype);
  OptimizerState optimizer = make_optimizer_state(model);
  const TrainerState state = load_checkpoint(checkpoint, model, optimizer);
  EXPECT_EQ(all_values(model, &models::Stage::trainable),
            all_values(trained.model, &models::Stage::trainable));
  expect_equal(optimizer.exp_avg, trained.optimizer.exp_avg);
  expect_equal(optimizer.exp_avg_sq, trained.optimizer.exp_avg_sq);
  EXPECT_EQ(optimizer.num_updates, 5);
  EXPECT_EQ(state.step, 5);
  EXPECT_EQ(state.num_tokens, 777);
  EXPECT_EQ(state.loss_sum, 0.1 + 0.2);
  EXPECT_EQ(state.loss_tokens, 31);
  EXPECT_EQ(state.horizon, 40);
  EXPECT_FALSE(state.first_eval_loss.has_value());
}

TEST(Checkpoint, FullModelRoundTripsBitwise) { expect_round_trip(false, at::kFloat, "", false); }
TEST(Checkpoint, AdapterRoundTripsBitwise) { expect_round_trip(true, at::kFloat, "", false); }
TEST(Checkpoint, ShortSaveDtypeKeepsFloat32Masters) {
  expect_round_trip(false, at::kFloat, "BF16", true);
}
TEST(Checkpoint, Bfloat16ComputeKeepsFloat32Values) {
  expect_round_trip(false, at::kBFloat16, "BF16", true);
}
TEST(Checkpoint, ShortAdapterDtypeKeepsFloat32Masters) {
  expect_round_trip(true, at::kFloat, "F16", true);
}

TEST(Checkpoint, FolderIsAHubFolder) {
  TempFolder out;
  const fs::path full = Trained(false).save(out / "full");
  for (const char* name :
       {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja", "model.safetensors", "manifest.json", "state/trainer_state.json"}) {
    EXPECT_TRUE(fs::exists(full / name)) << name;
  }
  EXPECT_NO_THROW(models::load_model(full, {}));
  const fs::path adapter = Trained(true).save(out / "adapter");
  EXPECT_TRUE(fs::exists(adapter / "adapter_config.json"));
  EXPECT_TRUE(fs::exists(adapter / "adapter_model.safetensors"));
  EXPECT_FALSE(fs::exists(adapter / "config.json"));
}

TEST(Checkpoint, NamedChatTemplatesStayWithTheModel) {
  TempFolder out, source;
  fs::copy(golden("tiny-chat"), source.path(), fs::copy_options::recursive);
  fs::create_directories(source / "additional_chat_templates");
  std::ofstream(source / "additional_chat_templates" / "tool_use.jinja") << "T";
  const Trained trained(false);
  const fs::path saved = save_checkpoint(out.path(), {.model = trained.model,
                                                      .optimizer = trained.optimizer,
                                                      .state = trained.state,
                                                      .model_folder = source.path()});
  EXPECT_EQ(slurp(saved / "additional_chat_templates" / "tool_use.jinja"), "T");
  EXPECT_NO_THROW(verify_checkpoint(saved));
}

TEST(Checkpoint, ConfigNamesTheSavedDtype) {
  TempFolder out;
  const fs::path folder = Trained(false).save(out.path(), "BF16");
  EXPECT_EQ(core::read_json_file(folder / "config.json").at("dtype"), "bfloat16");
}

class DamagedCheckpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    Trained trained(true);
    older_ = trained.save(out_.path());
    trained.state.step = 10;
    newer_ = trained.save(out_.path());
  }

  void expect_skipped(const std::string& reason) {
    std::vector<std::string> damaged;
    EXPECT_EQ(find_resumable(out_.path(), &damaged), older_);
    ASSERT_EQ(damaged.size(), 1u);
    EXPECT_NE(damaged[0].find("checkpoint-10"), std::string::npos) << damaged[0];
    EXPECT_NE(damaged[0].find(reason), std::string::npos) << damaged[0];
  }

  TempFolder out_;
  fs::path older_, newer_;
};

TEST_F(DamagedCheckpoint, UndamagedTheNewestIsTaken) {
  EXPECT_EQ(find_resumable(out_.path()), newer_);
}

TEST_F(DamagedCheckpoint, FlippedByteIsSkippedByName) {
  const fs::path file = newer_ / "state/exp_avg_sq.safetensors";
  std::string bytes = slurp(file);
  bytes.back() ^= 1;
  write_text(file, bytes);
  expect_skipped("exp_avg_sq.safetensors");
}

TEST_F(DamagedCheckpoint, TruncatedFileIsSkippedByName) {
  fs::resize_file(newer_ / "adapter_model.safetensors", 100);
  expect_skipped("adapter_model.safetensors");
}

TEST_F(DamagedCheckpoint, MissingFileIsSkippedByName) {
  fs::remove(newer_ / "adapter_config.json");
  expect_skipped("adapter_config.json");
}

TEST_F(DamagedCheckpoint, MissingManifestIsSkipped) {
  fs::remove(newer_ / kManifestName);
  expect_skipped(kManifestName);
}

TEST_F(DamagedCheckpoint, EmptyFolderIsSkipped) {
  fs::remove_all(newer_);
  fs::create_directories(newer_);
  expect_skipped(kManifestName);
}

TEST_F(DamagedCheckpoint, AllDamagedMeansNone) {
  fs::remove(newer_ / kManifestName);
  fs::remove(older_ / kManifestName);
  EXPECT_EQ(find_resumable(out_.path()), std::nullopt);
  EXPECT_EQ(find_resumable(out_ / "nowhere"), std::nullopt);
}

TEST_F(DamagedCheckpoint, SavingThatStepAgainReplacesIt) {
  fs::remove(newer_ / kManifestName);
  Trained trained(true);
  trained.state.step = 10;
  trained.save(out_.path());
  EXPECT_EQ(find_resumable(out_.path()), newer_);
  EXPECT_EQ(std::distance(fs::directory_iterator(out_.path()), {}), 2);
}

TEST_F(DamagedCheckpoint, NamedCheckpointThatIsNotThereIsMissingInput) {
  expect_failure([&] { verify_checkpoint(out_ / "checkpoint-99"); }, ErrorKind::kMissingInput,
                 {"checkpoint-99"});
}

TEST(Checkpoint, OtherModelsTensorsAreRefusedByName) {
  TempFolder out;
  const fs::path checkpoint = Trained(true).save(out.path());
  models::LoadOptions options;
  options.adapter.r = 8;
  models::Model model = models::load_model(golden("tiny-chat"), options);
  OptimizerState optimizer = make_optimizer_state(model);
  expect_failure([&] { load_checkpoint(checkpoint, model, optimizer); }, ErrorKind::kBadInput,
                 {"lora_A", "[4, 32]", "[8, 32]"});
}

TEST(Checkpoint, FailedSaveLeavesNoTemporaryAndTheOlderOneIntact) {
  TempFolder out, source;
  Trained trained(true);
  const fs::path older = trained.save(out.path());
  trained.state.step = 6;
  // A folder where a file is to be copied from can't be read as one.
  fs::create_directories(source / "tokenizer.json");
  const CheckpointSource bad{.model = trained.model,
                             .optimizer = trained.optimizer,
                             .state = trained.state,
                             .model_folder = source.path()};
  EXPECT_THROW(save_checkpoint(out.path(), bad), core::Error);
  EXPECT_EQ(std::distance(fs::directory_iterator(out.path()), {}), 1);
  EXPECT_EQ(find_resumable(out.path()), older);
}

TEST(Checkpoint, PoisonedWeightsOrMomentsAreNeverSaved) {
  TempFolder out;
  Trained weights(true), moments(true);
  weights.model.stages[1].trainable[2] = std::nanf("");
  moments.optimizer.exp_avg_sq[2][0] = std::numeric_limits<float>::infinity();
  for (Trained* trained : {&weights, &moments}) {
    expect_failure([&] { trained->save(out.path()); }, ErrorKind::kNumerical, {"after step 5"});
  }
  EXPECT_TRUE(fs::is_empty(out.path()));
}

TEST(CheckpointLimit, OldestGoFirstAndNamesThatAreNotOursStay) {
  TempFolder out;
  Trained trained(true);
  fs::create_directories(out / "checkpoint-old");
  fs::create_directories(out / "checkpoint-007");
  fs::path newest;
  for (const int64_t step : {9, 10, 11}) {
    trained.state.step = step;
    newest = trained.save(out.path());
  }
  delete_old_checkpoints(out.path(), newest, 0);
  EXPECT_EQ(list_checkpoints(out.path()).size(), 3u);
  delete_old_checkpoints(out.path(), newest, 2);
  const auto left = list_checkpoints(out.path());
  ASSERT_EQ(left.size(), 2u);
  EXPECT_EQ(left[0].first, 10);
  EXPECT_EQ(left[1].first, 11);
  EXPECT_TRUE(fs::exists(out / "checkpoint-old"));
  EXPECT_TRUE(fs::exists(out / "checkpoint-007"));
}

TEST(CheckpointLimit, NothingIsDeletedWhenTheNewOneDoesNotVerify) {
  TempFolder out;
  Trained trained(true);
  trained.save(out.path());
  trained.state.step = 6;
  const fs::path newest = trained.save(out.path());
  fs::resize_file(newest / "adapter_model.safetensors", 10);
  EXPECT_THROW(delete_old_checkpoints(out.path(), newest, 1), core::Error);
  EXPECT_EQ(list_checkpoints(out.path()).size(), 2u);
}

TEST(CheckpointLimit, NewOneStaysWhenAnAbandonedContinuationIsAhead) {
  TempFolder out;
  Trained trained(true);
  for (const int64_t step : {20, 30, 15}) {
    trained.state.step = step;
    trained.save(out.path());
  }
  delete_old_checkpoints(out.path(), out / "checkpoint-15", 1);
  const auto left = list_checkpoints(out.path());
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].first, 15);
}

TEST(CheckpointLimit, StaleTemporariesAreRemovedAndNothingElse) {
  TempFolder out;
  for (const char* name :
       {"checkpoint-5.tmp/state/a", "checkpoint-5.old.tmp/b", ".run.json.12.0.tmp", "notes.tmp",
        "other.tmp/c", "checkpoint-4/manifest.json"}) {
    write_text(out / name, "x");
  }
  remove_stale_temporaries(out.path());
  EXPECT_FALSE(fs::exists(out / "checkpoint-5.tmp"));
  EXPECT_FALSE(fs::exists(out / "checkpoint-5.old.tmp"));
  EXPECT_FALSE(fs::exists(out / ".run.json.12.0.tmp"));
  EXPECT_TRUE(fs::exists(out / "notes.tmp"));
  EXPECT_TRUE(fs::exists(out / "other.tmp/c"));
  EXPECT_TRUE(fs::exists(out / "checkpoint-4/manifest.json"));
}

}  // namespace
}  // namespace hone::trainer
