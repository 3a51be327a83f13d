// Wrong input of several ranks: one clear error, the same exit code, nobody waits.
#include "tests/e2e/ranks.h"

namespace hone::test {
namespace {

const std::vector<std::string> kTrain = {"train", "recipe.yaml"};

std::vector<std::string> with(const std::vector<std::string>& settings) {
  std::vector<std::string> arguments = kTrain;
  for (const std::string& setting : settings) arguments.insert(arguments.end(), {"--set", setting});
  return arguments;
}

void expect_one_error(const ProcessResult& result, int code,
                      const std::vector<std::string>& mentions) {
  expect_failure(result, code, mentions);
  EXPECT_EQ(times(result.err, "FATAL"), 1u) << result.err;
  EXPECT_EQ(times(result.err, "FATAL " + std::to_string(code) + " rank=0"), 1u) << result.err;
  // Once in the text, and at most once more in the last line.
  if (!mentions.empty()) {
    EXPECT_LE(times(result.err, mentions.front()), 2u) << result.err;
  }
}

class RanksBadInput : public testing::Test {
 protected:
  RanksBadInput() {
    // One output folder, wherever a rank is started.
    for (Workspace* work : {&work_, &other_})
      work->write_recipe(for_ranks({{"output_dir", (work_ / "out").string()}}));
  }

  void expect_refused(int ranks, const std::vector<std::string>& settings,
                      const std::vector<std::string>& mentions) {
    expect_one_error(mpirun(work_, ranks, with(settings)), 78, mentions);
    EXPECT_FALSE(fs::exists(work_ / "out"));
  }

  // Rank 1 of two is started in another folder.
  ProcessResult train_in_two_folders() {
    return mpirun(work_, {{.arguments = kTrain}, {.arguments = kTrain, .folder = other_ / ""}});
  }

  Workspace work_, other_;
};

TEST_F(RanksBadInput, SizesThatDoNotMultiplyToTheRanksAreNamed) {
  expect_refused(2, {"dp_shard_size=3"}, {"dp_shard_size", "3", "2 ranks"});
  expect_refused(4, {"dp_shard_size=2", "dp_replicate_size=1"}, {"dp_replicate 1", "4"});
}

TEST_F(RanksBadInput, BatchThatTheRanksCannotShareIsNamed) {
  expect_refused(4, {"global_batch_size=6"}, {"global_batch_size", "6", "4 data-parallel ranks"});
}

TEST_F(RanksBadInput, StrictWithThreeRanksIsRefused) {
  expect_refused(3, {"strict=true", "global_batch_size=6"}, {"strict", "power of two", "3"});
}

// The workspace's model: 4 query heads, 2 layers, 256 positions.
TEST_F(RanksBadInput, HeadsThatTheRanksCannotShareShowTheEquation) {
  expect_refused(
      3, {"tensor_parallel_size=3"},
      {"num_attention_heads 4 / tensor_parallel_size 3 leaves 1", "--set tensor_parallel_size: "});
  expect_refused(3, {"context_parallel_size=3"},
                 {"num_attention_heads 4 / (tensor_parallel_size 1 x context_parallel_size 3)"});
}

TEST_F(RanksBadInput, MoreStagesThanLayersShowTheEquation) {
  expect_refused(3, {"pipeline_parallel_size=3"},
                 {"pipeline_parallel_size 3 x 1 chunk = 3 is more than the model's 2 layers"});
  expect_refused(2, {"pipeline_parallel_size=2", "pipeline_schedule=interleaved"},
                 {"pipeline_parallel_size 2 x 2 chunks = 4 is more than the model's 2 layers"});
}

TEST_F(RanksBadInput, RowsLongerThanTheModelsPositionsAreRefusedWithBothNumbers) {
  expect_refused(2, {"max_length=257"}, {"257", "max_position_embeddings 256"});
}

TEST_F(RanksBadInput, AllThatDoesNotFitTheModelIsOneMessage) {
  expect_refused(9, {"max_length=257", "tensor_parallel_size=3", "pipeline_parallel_size=3"},
                 {"3 problems in the recipe", "leaves 1", "= 3 is more", "257"});
}

// Of an id the config is known only once it is resolved.
TEST_F(RanksBadInput, AModelFromTheHubThatDoesNotFitIsRefusedInTheSameWords) {
  ASSERT_EQ(work_.hone({"export", "model", "--output", "tiny.gguf", "--type", "f32"}).code, 0);
  ASSERT_EQ(work_.hone({"import", "tiny.gguf", "me/tiny"}).code, 0);
  expect_refused(
      3, {"model_name_or_path=me/tiny", "tensor_parallel_size=3"},
      {"num_attention_heads 4 / tensor_parallel_size 3 leaves 1", "--set tensor_parallel_size: "});
}

TEST_F(RanksBadInput, BackendThatIsNotInTheBuildIsNamed) {
  expect_refused(2, {"backend=nccl"}, {"backend", "nccl"});
}

TEST_F(RanksBadInput, RanksWithOtherRecipesAreNamedWithTheKeyAndBothValues) {
  const ProcessResult result =
      mpirun(work_, {{.ranks = 2, .arguments = kTrain},
                     {.ranks = 1, .arguments = with({"learning_rate=5.0e-3"})},
                     {.ranks = 1, .arguments = kTrain}});
  expect_one_error(result, 78, {"recipe.learning_rate", "rank 2: 0.005", "ranks 0 1 3: 0.01"});
  EXPECT_FALSE(fs::exists(work_ / "out"));
}

TEST_F(RanksBadInput, RanksWithOtherProgramsAreNamed) {
  fs::create_directories(work_ / "bin");
  for (const char* program : {"hone", "hone-train"})
    fs::copy_file(kBin / program, work_ / "bin" / program);
  std::ofstream(work_ / "bin" / "hone-train", std::ios::app) << 'x';
  const ProcessResult result = mpirun(
      work_, {{.arguments = kTrain}, {.arguments = kTrain, .program = work_ / "bin" / "hone"}});
  expect_one_error(result, 78, {"\n  build: ", "rank 0", "rank 1"});
}

TEST_F(RanksBadInput, RanksWithOtherDataAreNamed) {
  const std::string rows = slurp(other_ / "train.jsonl");
  write_text(other_ / "train.jsonl", rows.substr(rows.find('\n') + 1));
  expect_one_error(train_in_two_folders(), 78, {"\n  data: ", "rank 0", "rank 1"});
}

TEST_F(RanksBadInput, RanksWithOtherModelsAreNamed) {
  std::string bytes = slurp(other_ / "model" / "model.safetensors");
  bytes[bytes.size() - 2] ^= 1;
  write_text(other_ / "model" / "model.safetensors", bytes);
  expect_one_error(train_in_two_folders(), 78, {"\n  model: ", "rank 0", "rank 1"});
}

TEST_F(RanksBadInput, DataFileMissingOnOneRankNamesTheRank) {
  fs::remove(other_ / "train.jsonl");
  expect_one_error(train_in_two_folders(), 78, {"datasets[0].path", "rank 1", "train.jsonl"});
}

TEST_F(RanksBadInput, WeightsMissingOnOneRankNameTheRank) {
  fs::remove(other_ / "model" / "model.safetensors");
  expect_one_error(train_in_two_folders(), 66, {"rank 1: ", "no weights"});
}

TEST_F(RanksBadInput, RecipeMissingOnOneRankNamesTheRank) {
  fs::remove(other_ / "recipe.yaml");
  expect_one_error(train_in_two_folders(), 66, {"rank 1: recipe.yaml"});
}

TEST_F(RanksBadInput, RecipeMissingOnAllNamesNoRank) {
  fs::remove(work_ / "recipe.yaml");
  const ProcessResult result = mpirun(work_, 2, kTrain);
  expect_one_error(result, 66, {"recipe.yaml"});
  EXPECT_EQ(result.err.find("rank 0:"), std::string::npos) << result.err;
}

TEST_F(RanksBadInput, BrokenRowIsOneErrorThatNamesNoRank) {
  write_text(work_ / "train.jsonl", slurp(work_ / "train.jsonl") + "not json\n");
  const ProcessResult result = mpirun(work_, 2, kTrain);
  expect_one_error(result, 65, {"train.jsonl:33"});
  EXPECT_EQ(result.err.find("rank 0:"), std::string::npos) << result.err;
}

// Every rank writes its part of a checkpoint: found before the first step, not at the first save.
TEST_F(RanksBadInput, OutputFolderThatIsNotOneForAllRanksIsFoundAtTheStart) {
  for (Workspace* work : {&work_, &other_}) work->write_recipe(for_ranks());
  expect_one_error(train_in_two_folders(), 73, {"rank 1: ", "output_dir"});
  EXPECT_TRUE(names_in(work_ / "out").empty());
}

TEST_F(RanksBadInput, OutputFolderOfAnotherRunIsRefusedOnce) {
  write_text(work_ / "out" / "file", "of somebody");
  expect_one_error(mpirun(work_, 2, kTrain), 73, {"the output folder is not empty", "--overwrite"});
  EXPECT_EQ(names_in(work_ / "out"), std::vector<std::string>{"file"});
}

TEST_F(RanksBadInput, CheckpointOfAnotherAdapterOrModelIsRefused) {
  ASSERT_EQ(work_.train().code, 0);
  std::vector<std::string> arguments = with({"adapter.r=8", "max_steps=8"});
  arguments.emplace_back("--resume");
  expect_one_error(mpirun(work_, 2, arguments), 78, {"of another run", "adapter.r", "4", "8"});
  std::string bytes = slurp(work_ / "model" / "model.safetensors");
  bytes[bytes.size() - 2] ^= 1;
  write_text(work_ / "model" / "model.safetensors", bytes);
  arguments = with({"max_steps=8"});
  arguments.emplace_back("--resume");
  expect_one_error(mpirun(work_, 2, arguments), 78, {"of another run", "model"});
  EXPECT_FALSE(fs::exists(work_ / "out" / "checkpoint-8"));
}

// As the workspace's, but the head has weights of its own, and a token's embedding is no number.
void break_embedding(const Workspace& work, int64_t token) {
  const fs::path path = work / "model" / "model.safetensors";
  const std::string bytes = slurp(path);
  uint64_t size = 0;
  std::memcpy(&size, bytes.data(), 8);
  core::Json header = core::Json::parse(bytes.substr(8, size));
  std::string data = bytes.substr(8 + size);
  const core::Json embedding = header.at("model.embed_tokens.weight");
  const auto begin = embedding["data_offsets"][0].get<size_t>();
  const auto end = embedding["data_offsets"][1].get<size_t>();
  core::Json& head = header["lm_head.weight"];
  head = embedding;
  head["data_offsets"] = {data.size(), data.size() + (end - begin)};
  data += data.substr(begin, end - begin);
  const size_t row_bytes = (end - begin) / embedding["shape"][0].get<size_t>();
  std::fill_n(data.begin() + static_cast<ptrdiff_t>(begin + static_cast<size_t>(token) * row_bytes),
              row_bytes, '\xff');
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  size = text.size();
  write_text(path, std::string(reinterpret_cast<const char*>(&size), 8) + text + data);
  core::Json config = core::read_json_file(work / "model" / "config.json");
  config["tie_word_embeddings"] = false;
  write_text(work / "model" / "config.json", config.dump());
}

// One row of the data has a token without a finite embedding: one micro-batch of one rank.
TEST_F(RanksBadInput, NonFiniteLossOfOneRanksMicroBatchStopsAllBeforeTheUpdate) {
  const core::Json tokenizer = core::read_json_file(work_ / "model" / "tokenizer.json");
  break_embedding(work_, tokenizer.at("model").at("vocab").at("~").get<int64_t>());
  write_text(work_ / "train.jsonl", slurp(work_ / "train.jsonl") +
                                        R"({"messages": [{"role": "user", "content": "~"}, )"
                                        R"({"role": "assistant", "content": "What?"}]})"
                                        "\n");
  work_.write_recipe(for_ranks({{"packing", "false"},
                                {"max_steps", "9"},
                                {"save_steps", "1"},
                                {"sample_prompts", ""},
                                {"eval_datasets", ""},
                                {"eval_steps", ""}}));
  for (const Sizes& sizes : {Sizes{.replicate = 4}, Sizes{.shard = 4, .level = 3}}) {
    SCOPED_TRACE(sizes.text());
    const ProcessResult result = train_on(work_, sizes, {"--overwrite"});
    expect_one_error(result, 79, {"is not finite (samples 32)", "rank 1: "});
    const size_t num_steps = timeless_metrics(work_ / "out" / "metrics.jsonl").size();
    EXPECT_LT(num_steps, 9u);
    EXPECT_FALSE(fs::exists(work_ / "out" / ("checkpoint-" + std::to_string(num_steps + 1))));
    EXPECT_FALSE(fs::exists(work_ / "out" / "adapter_model.safetensors"));
  }
}

}  // namespace
}  // namespace hone::test
