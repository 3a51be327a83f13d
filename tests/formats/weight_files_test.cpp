#include "formats/weight_files.h"

#include "core/json.h"
#include "tests/formats/support.h"
#include "tests/support/paths.h"

namespace hone::formats {
namespace {

using core::ErrorKind;
using core::TempFolder;

// A safetensors file of one-byte-element tensors, all of [size].
std::string file_of(const std::vector<std::string>& names, int64_t size = 8) {
  std::vector<TensorSpec> specs;
  for (const std::string& name : names) specs.push_back({name, Dtype::kU8, {size}});
  const SafetensorsPlan plan = plan_safetensors(specs);
  return plan.header + std::string(names.size() * size, 'x');
}

std::string index_of(const std::string& weight_map, const std::string& total_size = "24") {
  return R"({"metadata":{"total_size":)" + total_size + R"(},"weight_map":{)" + weight_map + "}}";
}

constexpr char kOne[] = "model-00001-of-00002.safetensors";
constexpr char kTwo[] = "model-00002-of-00002.safetensors";

std::string pair(const std::string& tensor, const std::string& file) {
  return "\"" + tensor + "\":\"" + file + "\"";
}

const std::string kGoodMap = pair("a", kOne) + "," + pair("b", kTwo) + "," + pair("c", kOne);

// Two good shards: a and c in the first, b in the second.
void write_shards(const TempFolder& folder) {
  folder.write(kOne, file_of({"a", "c"}));
  folder.write(kTwo, file_of({"b"}));
}

void expect_refused(const TempFolder& folder, const std::vector<std::string>& parts,
                    ErrorKind kind = ErrorKind::kBadInput) {
  auto all = parts;
  all.push_back(folder.path().string());
  expect_failure([&] { open_weight_files(folder.path()); }, kind, all);
}

TEST(WeightFiles, OpensASingleFile) {
  const TempFolder folder;
  folder.write("model.safetensors", file_of({"a", "b"}));
  const WeightFiles weights = open_weight_files(folder.path());
  EXPECT_FALSE(weights.has_index());
  EXPECT_EQ(weights.tensors().size(), 2u);
  EXPECT_EQ(weights.total_bytes(), 16u);
  ASSERT_NE(weights.find("b"), nullptr);
  EXPECT_EQ(weights.bytes(*weights.find("b")).size(), 8u);
  EXPECT_EQ(weights.find("z"), nullptr);
}

TEST(WeightFiles, OpensShards) {
  const TempFolder folder;
  write_shards(folder);
  folder.write("model.safetensors.index.json", index_of(kGoodMap));
  const WeightFiles weights = open_weight_files(folder.path());
  EXPECT_TRUE(weights.has_index());
  EXPECT_EQ(weights.file_names(), (std::vector<std::string>{kOne, kTwo}));
  EXPECT_EQ(weights.find("b")->file, 1u);
  EXPECT_EQ(weights.find("b")->shape, std::vector<int64_t>{8});
  EXPECT_EQ(weights.total_bytes(), 24u);
}

TEST(WeightFiles, OpensShardsOfAGoldenModel) {
  const WeightFiles weights =
      open_weight_files(std::string(test::kSourceDir) + "/tests/golden/models/llama_sharded");
  EXPECT_EQ(weights.files().size(), 3u);
  EXPECT_NE(weights.find("model.embed_tokens.weight"), nullptr);
}

TEST(WeightFiles, MissingFolder) {
  expect_failure([] { open_weight_files("/nowhere/model"); }, ErrorKind::kMissingInput,
                 {"/nowhere/model", "folder is not there"});
}

TEST(WeightFiles, FolderWithoutWeights) {
  const TempFolder folder;
  folder.write("config.json", "{}");
  expect_refused(folder, {"no weights", "model.safetensors.index.json"}, ErrorKind::kMissingInput);
}

TEST(WeightFiles, GgufOnlyFolderPointsToImport) {
  const TempFolder folder;
  folder.write("m.gguf", "GGUF");
  expect_refused(folder, {"m.gguf", "hone import"}, ErrorKind::kMissingInput);
}

TEST(WeightFiles, PickleOnlyFoldersAreRefusedByName) {
  for (const std::string name : {"pytorch_model.bin", "pytorch_model-00001-of-00002.bin",
                                 "consolidated.00.pth", "model.pt", "last.ckpt"}) {
    const TempFolder folder;
    folder.write(name, "x");
    folder.write("training_args.bin", "x");
    expect_refused(folder, {name, "pickle", "safetensors"});
  }
}

TEST(WeightFiles, PickleBesideSafetensorsIsIgnored) {
  const TempFolder folder;
  folder.write("pytorch_model.bin", "x");
  folder.write("model.safetensors", file_of({"a"}));
  EXPECT_EQ(open_weight_files(folder.path()).tensors().size(), 1u);
}

TEST(WeightFilesRules, MissingShardsAreAllNamed) {
  const TempFolder folder;
  folder.write("model.safetensors.index.json", index_of(kGoodMap));
  expect_refused(folder, {kOne, kTwo, "is not there"}, ErrorKind::kMissingInput);
}

TEST(WeightFilesRules, TensorInTwoShards) {
  const TempFolder folder;
  folder.write(kOne, file_of({"a", "c"}));
  folder.write(kTwo, file_of({"b", "c"}));
  folder.write("model.safetensors.index.json", index_of(kGoodMap));
  expect_refused(folder, {"tensor \"c\" is in two shards", kOne, kTwo});
}

TEST(WeightFilesRules, MappedTensorThatIsNowhere) {
  const TempFolder folder;
  write_shards(folder);
  folder.write("model.safetensors.index.json", index_of(kGoodMap + "," + pair("d", kTwo)));
  expect_refused(folder, {"tensor \"d\"", kTwo, "does not have it"});
}

TEST(WeightFilesRules, TensorMappedToTheWrongShard) {
  const TempFolder folder;
  write_shards(folder);
  folder.write("model.safetensors.index.json",
               index_of(pair("a", kTwo) + "," + pair("b", kTwo) + "," + pair("c", kOne)));
  expect_refused(folder, {"tensor \"a\" is mapped to " + std::string(kTwo) + " but is in " + kOne});
}

TEST(WeightFilesRules, TensorThatIsNotMapped) {
  const TempFolder folder;
  write_shards(folder);
  folder.write("model.safetensors.index.json", index_of(pair("a", kOne) + "," + pair("b", kTwo)));
  expect_refused(folder, {"tensor \"c\"", kOne, "not in the weight_map"});
}

TEST(WeightFilesRules, UnsafePathsAreAllNamed) {
  const TempFolder folder;
  folder.write("model.safetensors.index.json",
               index_of(pair("a", "../m.safetensors") + "," + pair("b", "/etc/m.safetensors") +
                        "," + pair("c", "x\\\\m.safetensors")));
  expect_refused(folder, {"../m.safetensors", "/etc/m.safetensors", "\"c\"", "unsafe path"});
}

TEST(WeightFilesRules, TotalSizeThatDisagrees) {
  const TempFolder folder;
  write_shards(folder);
  folder.write("model.safetensors.index.json", index_of(kGoodMap, "25"));
  expect_refused(folder, {"total_size", "25", "24 bytes"});
}

TEST(WeightFilesRules, TotalSizeThatIsNoNumber) {
  for (const std::string size : {"\"24\"", "-24", "2.5", "1e300"}) {
    const TempFolder folder;
    write_shards(folder);
    folder.write("model.safetensors.index.json", index_of(kGoodMap, size));
    expect_refused(folder, {"total_size", "number of bytes"});
  }
}

TEST(WeightFilesRules, TotalSizeMayBeAbsentOrAWholeFloat) {
  const TempFolder folder;
  write_shards(folder);
  folder.write("model.safetensors.index.json", "{\"weight_map\":{" + kGoodMap + "}}");
  EXPECT_EQ(open_weight_files(folder.path()).tensors().size(), 3u);
  folder.write("model.safetensors.index.json", index_of(kGoodMap, "24.0"));
  EXPECT_EQ(open_weight_files(folder.path()).tensors().size(), 3u);
}

TEST(WeightFilesRules, WeightMapThatIsNoMap) {
  for (const std::string text :
       {R"({})", R"({"weight_map":[]})", R"({"weight_map":{}})", R"([])"}) {
    const TempFolder folder;
    folder.write("model.safetensors.index.json", text);
    expect_refused(folder, {"weight_map", "missing, empty or not an object"});
  }
  const TempFolder folder;
  folder.write("model.safetensors.index.json", index_of("\"a\":1"));
  expect_refused(folder, {"tensor \"a\"", "not to a file name"});
}

TEST(WeightFilesRules, BrokenIndexAndDuplicateTensorInIt) {
  const TempFolder folder;
  folder.write("model.safetensors.index.json", "{\"weight_map\":");
  expect_refused(folder, {"index.json", "not valid JSON"});
  folder.write("model.safetensors.index.json", index_of(pair("a", kOne) + "," + pair("a", kTwo)));
  expect_refused(folder, {"duplicate key \"a\""});
}

TEST(WeightFilesRules, CorruptShardIsNamed) {
  const TempFolder folder;
  write_shards(folder);
  folder.write(kTwo, file_of({"b"}).substr(0, 30));
  folder.write("model.safetensors.index.json", index_of(kGoodMap));
  expect_refused(folder, {kTwo, "truncated"});
}

TEST(ShardPlan, SmallModelsAreOneFileWithoutIndex) {
  const ShardPlan plan = plan_shards({{"a", Dtype::kF32, {10}}, {"b", Dtype::kF32, {10}}});
  ASSERT_EQ(plan.shards.size(), 1u);
  EXPECT_EQ(plan.shards[0].file_name, "model.safetensors");
  EXPECT_FALSE(plan.has_index);
}

TEST(ShardPlan, ShardsFillInOrderAndALargeTensorGetsItsOwn) {
  const ShardPlan plan = plan_shards({{"a", Dtype::kU8, {4}},
                                      {"b", Dtype::kU8, {6}},
                                      {"c", Dtype::kU8, {30}},
                                      {"d", Dtype::kU8, {1}}},
                                     10);
  ASSERT_EQ(plan.shards.size(), 3u);
  EXPECT_EQ(plan.shards[0].file_name, "model-00001-of-00003.safetensors");
  EXPECT_EQ(plan.shards[0].tensors.size(), 2u);
  EXPECT_EQ(plan.shards[1].tensors[0].name, "c");
  const core::Json index = core::parse_json(shard_index_json(plan), "index");
  EXPECT_EQ(index["metadata"]["total_size"], 41);
  EXPECT_EQ(index["weight_map"]["d"], "model-00003-of-00003.safetensors");
}

TEST(ShardPlan, AnInputsShardingIsReproduced) {
  const TempFolder folder;
  write_shards(folder);
  folder.write("model.safetensors.index.json", index_of(kGoodMap));
  const WeightFiles weights = open_weight_files(folder.path());
  std::vector<TensorSpec> specs;
  for (const WeightTensor& t : weights.tensors()) specs.push_back({t.name, Dtype::kBF16, t.shape});
  specs.push_back({"new", Dtype::kBF16, {1}});
  const ShardPlan plan = plan_shards_like(weights, specs);
  const TempFolder output;
  for (const ShardPlan::Shard& shard : plan.shards) {
    SafetensorsWriter writer(output.path() / shard.file_name, plan_safetensors(shard.tensors));
    for (const TensorSpec& t : shard.tensors) {
      const std::string bytes(*tensor_bytes(t.dtype, t.shape), 'y');
      writer.write(t.name, std::as_bytes(std::span(bytes)));
    }
    writer.commit();
  }
  output.write("model.safetensors.index.json", shard_index_json(plan));
  const WeightFiles saved = open_weight_files(output.path());
  EXPECT_EQ(saved.file_names(), weights.file_names());
  EXPECT_EQ(saved.find("a")->file, weights.find("a")->file);
  EXPECT_EQ(saved.find("new")->file, 1u);
  EXPECT_EQ(saved.find("c")->dtype, Dtype::kBF16);
}

}  // namespace
}  // namespace hone::formats
