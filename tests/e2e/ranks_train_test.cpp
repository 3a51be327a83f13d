// Training on several ranks is training on one: its numbers, its files and what it says.
#include "tests/e2e/ranks.h"

namespace hone::test {
namespace {

const std::vector<Sizes> kLayouts = {
    {.replicate = 2},         {.shard = 2, .level = 1},
    {.shard = 2, .level = 2}, {.replicate = 2, .shard = 2, .level = 2},
    {.shard = 4, .level = 3},
};

// Sums in another order, then Adam, which divides small gradients by their own size.
constexpr double kMetricsBound = 1e-6;
constexpr double kWeightsBound = 2e-6;

void expect_strict_layouts_alike(std::map<std::string, std::string> recipe) {
  recipe["strict"] = "true";
  Workspace one;
  one.write_recipe(for_ranks(recipe));
  const ProcessResult alone = one.hone({"train", "recipe.yaml"});
  ASSERT_EQ(alone.code, 0) << alone.err;
  for (const Sizes& sizes : kLayouts) {
    SCOPED_TRACE(sizes.text());
    Workspace several;
    several.write_recipe(for_ranks(recipe));
    const ProcessResult result = train_on(several, sizes);
    ASSERT_EQ(result.code, 0) << result.err;
    expect_same_bytes(one, several, 4);
  }
}

TEST(Ranks, StrictLoraWithDropoutIsTheSameBytesInEveryLayout) { expect_strict_layouts_alike({}); }

TEST(Ranks, StrictFullFineTuningIsTheSameBytesInEveryLayout) {
  expect_strict_layouts_alike(full_fine_tuning());
}

// 26 rows in steps of 8: the last one of the epoch has 2 micro-batches, for 2 of 4 ranks.
TEST(Ranks, StrictStepWithNothingForSomeRanksIsTheSameBytes) {
  const auto recipe =
      for_ranks({{"strict", "true"},
                 {"packing", "false"},
                 {"global_batch_size", "8"},
                 {"datasets", "[{path: train.jsonl, format: messages, max_rows: 26}]"}});
  Workspace one;
  one.write_recipe(recipe);
  ASSERT_EQ(one.train().code, 0);
  for (const Sizes& sizes : {Sizes{.replicate = 4}, Sizes{.shard = 2, .level = 3}}) {
    SCOPED_TRACE(sizes.text());
    Workspace several;
    several.write_recipe(recipe);
    const ProcessResult result = train_on(several, sizes);
    ASSERT_EQ(result.code, 0) << result.err;
    expect_same_bytes(one, several, 4);
  }
}

void expect_layouts_close(const std::map<std::string, std::string>& recipe,
                          const std::vector<Sizes>& layouts) {
  Workspace one;
  one.write_recipe(for_ranks(recipe));
  ASSERT_EQ(one.train().code, 0);
  for (const Sizes& sizes : layouts) {
    SCOPED_TRACE(sizes.text());
    Workspace several;
    several.write_recipe(for_ranks(recipe));
    const ProcessResult result = train_on(several, sizes);
    ASSERT_EQ(result.code, 0) << result.err;
    expect_close(one, several, kMetricsBound, kWeightsBound);
  }
}

TEST(Ranks, WithoutStrictLossNormAndWeightsStayWithinRounding) {
  expect_layouts_close({}, {{.shard = 2, .level = 1}, {.replicate = 2, .shard = 2, .level = 3}});
  expect_layouts_close(
      full_fine_tuning(),
      {{.replicate = 4}, {.shard = 2, .level = 2}, {.replicate = 2, .shard = 2, .level = 3}});
}

// Batches that no power of two of ranks can share.
TEST(Ranks, ThreeRanksTrainAsOneDoes) {
  expect_layouts_close({{"global_batch_size", "6"}}, {{.replicate = 3}, {.shard = 3, .level = 3}});
}

const std::vector<std::pair<Sizes, int>> kShardsAndReplicas = {
    {{}, 2},
    {{.shard = 2, .level = 3}, 4},
    {{.replicate = 2, .shard = 2, .level = 2}, 6},
    {{}, 8},
};

TEST(RanksResume, StrictRunThroughOtherLayoutsIsTheSameBytesAsOneThatWasNotInterrupted) {
  for (auto recipe : {std::map<std::string, std::string>{}, full_fine_tuning()}) {
    recipe["strict"] = "true";
    Workspace whole, parts;
    whole.write_recipe(eight_steps(recipe));
    parts.write_recipe(eight_steps(recipe));
    ASSERT_EQ(whole.train().code, 0);
    train_through_layouts(parts, kShardsAndReplicas);
    expect_same_bytes(whole, parts, 8);
  }
}

// Rows and tokens of every step are compared exactly: no sample is repeated or skipped.
TEST(RanksResume, WithoutStrictTheSameSamplesAreTrainedThroughOtherLayouts) {
  Workspace whole, parts;
  whole.write_recipe(eight_steps());
  parts.write_recipe(eight_steps());
  ASSERT_EQ(whole.train({"--ledger"}).code, 0);
  train_through_layouts(parts, kShardsAndReplicas, {"--ledger"});
  expect_close(whole, parts, kMetricsBound, kWeightsBound);
  const auto rows = ledger(whole);
  EXPECT_EQ(rows.size(), 8u);
  EXPECT_EQ(rows, ledger(parts));
}

TEST(Ranks, CheckInvarianceHoldsEveryLayoutToOneRank) {
  Workspace work;
  work.write_recipe(for_ranks());
  const ProcessResult result = mpirun(work, 4, {"check", "invariance", "recipe.yaml"});
  EXPECT_EQ(result.code, 0) << result.err << result.out;
  for (const char* row :
       {"recompute, dropout on ", "dp_replicate 4 ", "dp_shard 4, level 1, strict ",
        "dp_shard 4, level 3 ", "dp_replicate 2 x dp_shard 2, level 3, strict ", "\ntp 4 ",
        "\ncp 4, level 3 ", "\npp 2 x tp 2 ",
        "\nleft out: pp 4: pipeline_parallel_size 4 x 1 chunk = 4 is more than"})
    EXPECT_EQ(times(result.out, row), 1u) << row << " is not in\n" << result.out;
  EXPECT_EQ(times(result.out, "FAILED"), 0u) << result.out;
}

// The workspace's model has 4 query heads and 2 layers.
TEST(Ranks, CheckInvarianceSaysWhichLayoutsTheModelHasNot) {
  Workspace work;
  work.write_recipe(for_ranks({{"adapter", ""}}));
  const ProcessResult two = mpirun(work, 2, {"check", "invariance", "recipe.yaml"});
  EXPECT_EQ(two.code, 0) << two.err << two.out;
  EXPECT_EQ(times(two.out, "\npp 2 "), 1u) << two.out;
  EXPECT_EQ(times(two.out, "left out"), 0u) << two.out;
  const ProcessResult three = mpirun(work, 3, {"check", "invariance", "recipe.yaml"});
  EXPECT_EQ(three.code, 0) << three.err << three.out;
  for (const char* line :
       {"left out: tp 3: num_attention_heads 4 / tensor_parallel_size 3 leaves 1",
        "left out: cp 3: num_attention_heads 4", "left out: pp 3: pipeline_parallel_size 3"})
    EXPECT_EQ(times(three.out, line), 1u) << line << " is not in\n" << three.out;
}

TEST(Ranks, DebugModeFindsNothingWrongWithATraining) {
  Workspace work;
  work.write_recipe(for_ranks());
  const ProcessResult result =
      train_on(work, {.replicate = 2, .shard = 2}, {"--check-collectives"});
  EXPECT_EQ(result.code, 0) << result.err;
}

TEST(RanksResume, CheckpointOfFourShardsHasTheFilesOfOneRankAndGoesOnWithOtherChoices) {
  Workspace one, four;
  one.write_recipe(eight_steps({{"strict", "true"}}));
  four.write_recipe(eight_steps({{"strict", "true"}}));
  ASSERT_EQ(one.train({"--set", "max_steps=4"}).code, 0);
  ASSERT_EQ(train_on(four, {.shard = 4}, {"--set", "max_steps=4"}).code, 0);
  const std::string checkpoint = "out/checkpoint-4";
  EXPECT_EQ(names_in(one / checkpoint), names_in(four / checkpoint));
  EXPECT_EQ(slurp(one / checkpoint / "adapter_model.safetensors"),
            slurp(four / checkpoint / "adapter_model.safetensors"));
  const ProcessResult result = train_on(
      four, {.replicate = 2}, {"--resume", "--set", "strict=false", "--set", "backend=mpi"});
  EXPECT_EQ(result.code, 0) << result.err;
  // Only that the run is longer is told as a change.
  EXPECT_EQ(times(result.err, "(may change)"), 1u) << result.err;
  EXPECT_NE(result.err.find("max_steps  4           8  (may change)"), std::string::npos)
      << result.err;
}

// Log lines without their times and measured figures.
std::vector<std::string> told(const std::string& err) {
  std::vector<std::string> lines;
  std::istringstream stream(err);
  for (std::string line; std::getline(stream, line);) {
    for (const char* measured : {"throughput:", "planned and measured:"})
      if (line.find(measured) != std::string::npos) line = std::string("] [") + measured;
    line = line.substr(line.find("] [") + 1);
    lines.push_back(line.substr(0, line.find(" tokens/s")));
    if (const size_t end = lines.back().rfind("  "); end != std::string::npos)
      lines.back().resize(end);
  }
  return lines;
}

TEST(RanksFiles, FourRanksSayWhatOneSays) {
  Workspace one, four;
  for (Workspace* work : {&one, &four}) work->write_recipe(for_ranks({{"strict", "true"}}));
  const ProcessResult alone = one.train();
  ASSERT_EQ(alone.code, 0) << alone.err;
  const ProcessResult together = train_on(four, {.replicate = 2, .shard = 2});
  ASSERT_EQ(together.code, 0) << together.err;
  // What is saved beside the training is told when it is there.
  auto lines_alone = told(alone.err), lines_together = told(together.err);
  EXPECT_EQ(std::erase(lines_together, " [info] layout: dp_replicate 2 x dp_shard 2"), 1u);
  // Where the ranks are, and what is between them.
  const auto is_of_ranks = [](const std::string& line) {
    return line.find(": ranks 0-3 ") != std::string::npos ||
           line.starts_with(" [info] 4 ranks on 1 machine: ");
  };
  EXPECT_EQ(std::erase_if(lines_together, is_of_ranks), 2u);
  std::ranges::sort(lines_alone);
  std::ranges::sort(lines_together);
  EXPECT_EQ(lines_alone, lines_together);
  EXPECT_EQ(together.out, alone.out);
  EXPECT_EQ(rows_of(one / "out" / "metrics.jsonl").size(), 7u);  // 4 steps, 3 evaluations
  EXPECT_EQ(names_in(one / "out"), names_in(four / "out"));
}

TEST(RanksFiles, MetricsTellWhatCommunicationCostOnlyWhereThereIsAny) {
  Workspace one, two;
  for (Workspace* work : {&one, &two}) work->write_recipe(for_ranks());
  ASSERT_EQ(one.train().code, 0);
  ASSERT_EQ(train_on(two, {.shard = 2}).code, 0);
  size_t num_steps = 0;
  for (const core::Json& row : rows_of(two / "out" / "metrics.jsonl")) {
    if (row.contains("eval_loss")) continue;
    ++num_steps;
    EXPECT_GT(row.at("comm_bytes").get<int64_t>(), 0) << row;
    EXPECT_GE(row.at("exposed_comm_seconds").get<double>(), 0) << row;
    const core::Json& axes = row.at("communication");
    EXPECT_EQ(axes.size(), 1u) << row;
    EXPECT_GE(axes.at("dp_shard").at("bytes"), row.at("comm_bytes")) << row;
    EXPECT_GT(axes.at("dp_shard").at("exposed_seconds").get<double>(), 0) << row;
  }
  EXPECT_EQ(num_steps, 4u);
  for (const core::Json& row : rows_of(one / "out" / "metrics.jsonl")) {
    EXPECT_FALSE(row.contains("comm_bytes")) << row;
    EXPECT_FALSE(row.contains("exposed_comm_seconds")) << row;
    EXPECT_FALSE(row.contains("communication")) << row;
  }
}

int64_t sum_of_lists(const core::Json& run, size_t rank) {
  int64_t sum = 0;
  for (const char* key : {"param_bytes", "grad_bytes", "optimizer_bytes"})
    sum += run.at(key).at(rank).get<int64_t>();
  return sum;
}

TEST(RanksFiles, RunJsonHasLayoutSavesAndEveryRanksMemoryWhichIsAQuarterAtLevelThree) {
  Workspace one, four;
  for (Workspace* work : {&one, &four}) work->write_recipe(for_ranks(full_fine_tuning()));
  ASSERT_EQ(one.train().code, 0);
  ASSERT_EQ(train_on(four, {.shard = 4, .level = 3}).code, 0);
  const core::Json alone = core::read_json_file(one / "out" / "run.json");
  const core::Json run = core::read_json_file(four / "out" / "run.json");
  EXPECT_EQ(
      run.at("layout"),
      core::Json::parse(
          R"({"pp": 1, "dp_replicate": 1, "dp_shard": 4, "cp": 1, "tp": 1, "dp_shard_level": 3})"));
  for (const char* key : {"param_bytes", "grad_bytes", "optimizer_bytes"}) {
    EXPECT_EQ(alone.at(key).size(), 1u) << key;
    EXPECT_EQ(run.at(key).size(), 4u) << key;
  }
  // A cache line at most for each of weights, gradients and two moments of four stages.
  constexpr int64_t kPadding = 4 * 4 * 64;
  for (size_t rank = 0; rank < 4; ++rank) {
    EXPECT_GT(sum_of_lists(run, rank), 0);
    EXPECT_LE(sum_of_lists(run, rank), sum_of_lists(alone, 0) / 4 + kPadding);
  }
  ASSERT_EQ(run.at("memory").at("rank_peak_rss_bytes").size(), 4u);
  for (const core::Json& bytes : run.at("memory").at("rank_peak_rss_bytes"))
    EXPECT_GT(bytes.get<int64_t>(), sum_of_lists(run, 0));
  ASSERT_EQ(run.at("saves").size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(run["saves"][i].at("step"), 2 * (i + 1));
    EXPECT_EQ(run["saves"][i].at("bytes"), alone["saves"][i].at("bytes"));
  }
}

}  // namespace
}  // namespace hone::test
