// What a user gets for wrong input: the exit code and a message that names the place.
#include "tests/e2e/workspace.h"

namespace hone::test {
namespace {

TEST(BadRecipe, EveryErrorIsReportedAtOnceWithItsLine) {
  Workspace work;
  write_text(
      work / "recipe.yaml",
      "recipe: sft\nmodel_name_or_path: model\nlerning_rate: 1.0e-3\nlearning_rate: -1\nmax_steps: "
      "many\n"
      "seed: 1\nseed: 2\ndatasets: [{path: nowhere.jsonl, format: messages}]\noutput_dir: out\n");
  expect_failure(work.hone({"validate", "recipe.yaml"}), 78,
                 {"recipe.yaml:3:", "lerning_rate", "learning_rate",
                  "recipe.yaml:4:", "recipe.yaml:5:", "many", "recipe.yaml:7:", "seed",
                  "recipe.yaml:8:", "nowhere.jsonl"});
}

TEST(BadRecipe, TrainRefusesWhatValidateRefuses) {
  Workspace work;
  work.write_recipe({{"max_steps", "-3"}});
  expect_failure(work.train(), 78, {"max_steps", "-3"});
  EXPECT_FALSE(fs::exists(work / "out"));
}

TEST(BadRecipe, MissingRecipeFileIsMissingInput) {
  Workspace work;
  const ProcessResult result = work.hone({"validate", "none.yaml"});
  EXPECT_TRUE(result.code == 66 || result.code == 78) << result.code;
  EXPECT_NE(result.err.find("none.yaml"), std::string::npos);
}

// A model of which an optimizer state alone is more than any machine has; its weights are not read.
TEST(BadRecipe, ARunThatDoesNotFitTheMemoryIsRefusedBeforeItsModelIsLoaded) {
  Workspace work;
  work.write_recipe({{"adapter", ""}, {"micro_batch_size", "4000"}, {"max_length", "4000"}});
  std::string config = slurp(work / "model" / "config.json");
  const auto replace = [&](const std::string& key, const std::string& value) {
    const size_t begin = config.find(':', config.find("\"" + key + "\"")) + 1;
    config.replace(begin, config.find_first_of(",\n", begin) - begin, " " + value);
  };
  replace("intermediate_size", "2000000000");
  replace("max_position_embeddings", "8192");
  write_text(work / "model" / "config.json", config);
  expect_failure(work.train(), 78,
                 {"the run does not fit the memory", "most of it", "--ignore-plan"});
  EXPECT_FALSE(fs::exists(work / "out" / "run.json"));
  const ProcessResult tried = work.hone({"train", "recipe.yaml", "--ignore-plan"});
  EXPECT_EQ(tried.code, 65) << tried.err;  // the weights are not those of the config
}

TEST(BadModel, UnknownIdNamesThePlacesSearched) {
  Workspace work;
  work.write_recipe({{"model_name_or_path", "nobody/nothing"}});
  expect_failure(work.train(), 66, {"nobody/nothing"});
}

TEST(BadModel, TruncatedWeightsNameTheFile) {
  Workspace work;
  const std::string bytes = slurp(work / "model" / "model.safetensors");
  write_text(work / "model" / "model.safetensors", bytes.substr(0, bytes.size() - 100));
  expect_failure(work.train(), 65, {"model.safetensors"});
}

TEST(BadModel, HostileHeaderLengthIsRefused) {
  Workspace work;
  std::string bytes = slurp(work / "model" / "model.safetensors");
  bytes.replace(0, 8, std::string("\xff\xff\xff\xff\xff\xff\xff\x7f", 8));
  write_text(work / "model" / "model.safetensors", bytes);
  expect_failure(work.train(), 65, {"model.safetensors"});
}

TEST(BadModel, MissingShardIsNamed) {
  Workspace work;
  fs::remove(work / "model" / "model.safetensors");
  write_text(
      work / "model" / "model.safetensors.index.json",
      R"({"metadata":{"total_size":4},"weight_map":{"model.norm.weight":"model-00001-of-00001.safetensors"}})");
  expect_failure(work.train(), 66, {"model-00001-of-00001.safetensors"});
}

TEST(BadModel, WrongShapesNameTensorAndBothShapes) {
  Workspace work;
  core::Json config = core::read_json_file(work / "model" / "config.json");
  config["intermediate_size"] = 48;
  write_text(work / "model" / "config.json", config.dump());
  expect_failure(work.train(), 65, {"gate_proj", "48", "64"});
}

TEST(BadModel, PickleOnlyFolderIsRefused) {
  Workspace work;
  fs::rename(work / "model" / "model.safetensors", work / "model" / "pytorch_model.bin");
  expect_failure(work.train(), 65, {"pytorch_model.bin", "safetensors"});
}

TEST(BadModel, UnknownArchitectureListsTheSupportedOnes) {
  Workspace work;
  core::Json config = core::read_json_file(work / "model" / "config.json");
  config["architectures"] = {"FalconForCausalLM"};
  config["model_type"] = "falcon";
  write_text(work / "model" / "config.json", config.dump());
  expect_failure(work.train(), 65, {"FalconForCausalLM", "LlamaForCausalLM"});
}

TEST(BadModel, ConfigKeyThatChangesTheMathsIsRefused) {
  Workspace work;
  core::Json config = core::read_json_file(work / "model" / "config.json");
  config["hidden_act"] = "gelu";
  write_text(work / "model" / "config.json", config.dump());
  expect_failure(work.train(), 65, {"hidden_act", "gelu"});
}

TEST(BadModel, MissingTokenizerIsNamed) {
  Workspace work;
  fs::remove(work / "model" / "tokenizer.json");
  const ProcessResult result = work.train();
  EXPECT_TRUE(result.code == 65 || result.code == 66) << result.code;
  EXPECT_NE(result.err.find("tokenizer.json"), std::string::npos) << result.err;
}

TEST(BadData, BrokenLineIsNamedWithItsNumber) {
  Workspace work;
  std::string rows = slurp(work / "train.jsonl");
  rows.insert(rows.find('\n') + 1, "{\"messages\": [{\"role\": \"user\", \n");
  write_text(work / "train.jsonl", rows);
  expect_failure(work.train(), 65, {"train.jsonl:2"});
}

TEST(BadData, BrokenLineIsSkippedAndCountedWhenTheRecipeSaysSo) {
  Workspace work;
  std::string rows = slurp(work / "train.jsonl");
  rows.insert(rows.find('\n') + 1, "not json\n");
  write_text(work / "train.jsonl", rows);
  work.write_recipe({{"on_bad_row", "skip"}});
  const ProcessResult result = work.hone({"data", "show", "recipe.yaml"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE((result.out + result.err).find("1 bad"), std::string::npos) << result.out << result.err;
}

TEST(BadData, EmptyDatasetIsRefused) {
  Workspace work;
  write_text(work / "train.jsonl", "");
  expect_failure(work.train(), 65, {"train.jsonl"});
}

TEST(BadData, RowsWithoutTrainedTokensAreRefused) {
  Workspace work;
  write_text(work / "train.jsonl", R"({"messages": [{"role": "user", "content": "hello"}]})"
                                   "\n");
  expect_failure(work.train(), 65, {"train"});
}

TEST(BadData, TruncatedJsonArrayIsRefused) {
  Workspace work;
  write_text(
      work / "rows.json",
      R"([{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},)");
  work.write_recipe({{"datasets", "[{path: rows.json, format: messages}]"}});
  expect_failure(work.train(), 65, {"rows.json"});
}

TEST(BadData, TemplateThatRaisesNamesTheTemplateLine) {
  Workspace work;
  write_text(work / "model" / "chat_template.jinja",
             "{% if messages %}\n{{ raise_exception('roles must alternate') }}\n{% endif %}");
  expect_failure(work.train(), 65, {"roles must alternate"});
}

TEST(BadData, TemplateThatNeverEndsIsStopped) {
  Workspace work;
  write_text(work / "model" / "chat_template.jinja",
             "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% "
             "endfor %}{% endfor %}{% endfor %}");
  const ProcessResult result = work.train();
  EXPECT_EQ(result.code, 65) << result.err;
  EXPECT_LT(result.cpu_seconds, 20);
}

TEST(BadData, TrainedOnNanWeightsStopsBeforeTheUpdate) {
  Workspace work;
  std::string bytes = slurp(work / "model" / "model.safetensors");
  for (size_t i = bytes.size() - 64; i < bytes.size(); ++i) bytes[i] = '\xff';
  write_text(work / "model" / "model.safetensors", bytes);
  work.write_recipe({{"eval_datasets", ""}, {"eval_steps", ""}});
  expect_failure(work.train(), 79, {"step 1"});
  EXPECT_FALSE(fs::exists(work / "out" / kTinyChat.filename()));
  EXPECT_FALSE(fs::exists(work / "out" / "checkpoint-1"));
  EXPECT_FALSE(fs::exists(work / "out" / "adapter_model.safetensors"));
}

}  // namespace
}  // namespace hone::test
