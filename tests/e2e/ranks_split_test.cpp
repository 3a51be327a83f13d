// Training with layers, tokens or stages split over ranks is training on one: numbers, texts,
// files, checkpoints and the end by a signal.
#include "tests/e2e/ranks.h"

namespace hone::test {
namespace {

// Relative, of losses and norms, and absolute, of weights: sums of other lengths in another order.
constexpr double kMetricsBound = 1e-6;
constexpr double kWeightsBound = 2e-6;

const Sizes kTensor{.tp = 2}, kContext{.cp = 2}, kPipeline{.pp = 2};
const Sizes kReplicatedTensor{.replicate = 2, .tp = 2}, kShardedTensor{.shard = 2, .tp = 2};

std::vector<std::string> adapters_or_all() {
  return {"", "{type: lora, r: 4, lora_alpha: 8, lora_dropout: 0.1, target_modules: all-linear}"};
}

// Full fine-tuning in steps so long that what the model writes changes on the way; an adapter's in
// such steps would make more of a rounding than the bounds.
std::map<std::string, std::string> recipe_with(const std::string& adapter) {
  return eight_steps({{"adapter", adapter},
                      {"learning_rate", "1.0e-2"},
                      {"save_steps", "8"},
                      {"eval_steps", "4"}});
}

// The tensors' names, shapes and places.
std::string header_of(const std::string& safetensors) {
  uint64_t size = 0;
  std::memcpy(&size, safetensors.data(), 8);
  return safetensors.substr(8, size);
}

size_t num_different_texts(const Workspace& work) {
  std::set<std::string> texts;
  for (const core::Json& row : rows_of(work / "out" / "samples.jsonl"))
    texts.insert(row.at("text").get<std::string>());
  return texts.size();
}

void expect_layout_in_files(const Workspace& work, const Sizes& sizes) {
  core::Json layout{{"pp", sizes.pp},
                    {"dp_replicate", sizes.replicate},
                    {"dp_shard", sizes.shard},
                    {"cp", sizes.cp},
                    {"tp", sizes.tp}};
  if (sizes.shard > 1) layout["dp_shard_level"] = sizes.level;
  const core::Json run = core::read_json_file(work / "out" / "run.json");
  EXPECT_EQ(run.at("layout"), layout);
  EXPECT_EQ(run.at("param_bytes").size(), static_cast<size_t>(sizes.ranks()));
  size_t num_steps = 0;
  for (const core::Json& row : rows_of(work / "out" / "metrics.jsonl")) {
    if (row.contains("eval_loss")) continue;
    ++num_steps;
    for (const auto& [axis, size] : sizes.split_axes()) {
      ASSERT_TRUE(row.at("communication").contains(axis)) << row;
      EXPECT_GT(row["communication"][axis].at("bytes").get<int64_t>(), 0) << row;
    }
    EXPECT_EQ(row.at("communication").contains("dp_replicate"), sizes.replicate > 1) << row;
  }
  EXPECT_EQ(num_steps, 8u);
}

std::string generated(const Workspace& work) {
  const ProcessResult result = work.hone({"generate", "out", "--chat", "--prompt", "What is pkg3?",
                                          "--greedy", "--max-new-tokens", "8"});
  EXPECT_EQ(result.code, 0) << result.err;
  return result.out;
}

void expect_run_of_one_rank(const std::string& adapter, const std::vector<Sizes>& layouts,
                            const std::map<std::string, std::string>& more = {}) {
  std::map<std::string, std::string> recipe = recipe_with(adapter);
  recipe.insert(more.begin(), more.end());
  Workspace one;
  one.write_recipe(recipe);
  const ProcessResult alone = one.train();
  ASSERT_EQ(alone.code, 0) << alone.err;
  if (adapter.empty()) {
    EXPECT_GT(num_different_texts(one), 1u) << "equal texts would say little";
  }
  for (const Sizes& sizes : layouts) {
    SCOPED_TRACE(sizes.text() + ", adapter " + adapter);
    Workspace several;
    several.write_recipe(recipe);
    const ProcessResult result = train_on(several, sizes);
    ASSERT_EQ(result.code, 0) << result.err;
    expect_close(one, several, kMetricsBound, kWeightsBound);
    EXPECT_EQ(header_of(weights_file(one)), header_of(weights_file(several)));
    EXPECT_EQ(slurp(one / "out" / "samples.jsonl"), slurp(several / "out" / "samples.jsonl"));
    EXPECT_EQ(generated(one), generated(several));
    EXPECT_EQ(names_in(one / "out"), names_in(several / "out"));
    expect_layout_in_files(several, sizes);
  }
}

TEST(RanksSplit, LossesTextsAndFilesOfSplitLayersAreThoseOfOneRank) {
  for (const std::string& adapter : adapters_or_all())
    expect_run_of_one_rank(adapter, {kTensor, kReplicatedTensor});
}

TEST(RanksSplit, LossesTextsAndFilesOfSplitTokensAreThoseOfOneRank) {
  for (const std::string& adapter : adapters_or_all()) expect_run_of_one_rank(adapter, {kContext});
}

TEST(RanksSplit, LossesTextsAndFilesOfAPipelineAreThoseOfOneRank) {
  for (const std::string& adapter : adapters_or_all()) expect_run_of_one_rank(adapter, {kPipeline});
}

TEST(RanksSplit, RecomputedActivationsAreThoseOfOneRank) {
  expect_run_of_one_rank("", {kTensor, kPipeline}, {{"gradient_checkpointing", "true"}});
}

TEST(RanksSplitResume, SameSamplesAndCurveThroughEverySplit) {
  for (const std::string& adapter : adapters_or_all()) {
    std::map<std::string, std::string> recipe = eight_steps({{"adapter", adapter},
                                                             {"max_steps", "6"},
                                                             {"scheduler_steps", "6"},
                                                             {"eval_steps", "0"},
                                                             {"save_steps", "1"},
                                                             {"sample_prompts", ""},
                                                             {"sample_max_new_tokens", ""}});
    if (adapter.empty()) recipe["learning_rate"] = "1.0e-3";
    Workspace whole, parts;
    for (Workspace* work : {&whole, &parts}) work->write_recipe(recipe);
    ASSERT_EQ(whole.train({"--ledger"}).code, 0);
    const std::vector<std::pair<Sizes, int>> layouts = {
        {{}, 1}, {kTensor, 2}, {kContext, 3}, {kPipeline, 4}, {kShardedTensor, 5}, {{}, 6}};
    train_through_layouts(parts, layouts, {"--ledger"});
    EXPECT_EQ(ledger(whole).size(), 6u);
    EXPECT_EQ(ledger(whole), ledger(parts));
    const auto curve = [](const Workspace& work) {  // each part evaluates at its end
      std::vector<double> losses;
      for (const core::Json& row : rows_of(work / "out" / "metrics.jsonl"))
        if (row.contains("loss")) losses.push_back(row["loss"]);
      return losses;
    };
    const std::vector<double> expected = curve(whole), got = curve(parts);
    ASSERT_EQ(expected.size(), 6u);
    ASSERT_EQ(got.size(), 6u);
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(got[i], expected[i], kMetricsBound * expected[i]) << "step " << i + 1;
    expect_close_weights(whole, parts, kWeightsBound);
  }
}

TEST(RanksSplitStop, SignalToOneRankStopsAllAfterTheSameStepAndOneRankGoesOn) {
  const auto recipe =
      for_ranks({{"max_steps", "60"}, {"save_steps", "1000"}, {"eval_steps", "30"}});
  Workspace whole;
  whole.write_recipe(recipe);
  ASSERT_EQ(whole.train({"--ledger"}).code, 0);
  for (const Sizes& sizes : {kTensor, kPipeline}) {
    SCOPED_TRACE(sizes.text());
    Workspace stopped;
    stopped.write_recipe(recipe);
    const ProcessResult first = train_on(stopped, sizes, {"--ledger"}, send_stop(stopped, 1));
    ASSERT_EQ(first.code, 75) << first.err;
    EXPECT_EQ(times(first.err, "stopped by signal"), 1u) << first.err;
    expect_one_checkpoint(stopped);
    const ProcessResult second = stopped.train({"--resume", "--ledger"});
    ASSERT_EQ(second.code, 0) << second.err;
    EXPECT_EQ(ledger(whole), ledger(stopped));
  }
}

}  // namespace
}  // namespace hone::test
