#include "data/dataset_files.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "data/file_type.h"
#include "data/glob.h"
#include "tests/core/temp_folder.h"

namespace hone::data {
namespace {

using core::ErrorKind;
using Files = std::vector<std::string>;

Files choose(const Files& paths, const std::string& split = "", const std::string& card = "",
             const std::string& config = "") {
  return choose_dataset_files(paths, card, config, split, "recipe.yaml:9: owner/name");
}

std::string refusal(const Files& paths, const std::string& split, const std::string& card = "",
                    const std::string& config = "", ErrorKind kind = ErrorKind::kMissingInput) {
  try {
    const Files files = choose(paths, split, card, config);
    ADD_FAILURE() << "chose " << files.size() << " files";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  return "";
}

#define EXPECT_TEXT(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(DatasetFilesTest, ShardNamesComeBeforeWordsInNames) {
  const Files paths = {"README.md", "data/train-00001-of-00002-0a1b.parquet",
                       "data/train-00000-of-00002-0a1b.parquet",
                       "data/test_sft-00000-of-00001.parquet", "train/other.parquet"};
  EXPECT_EQ(choose(paths), (Files{"data/train-00000-of-00002-0a1b.parquet",
                                  "data/train-00001-of-00002-0a1b.parquet"}));
  EXPECT_EQ(choose(paths, "test_sft"), (Files{"data/test_sft-00000-of-00001.parquet"}));
  EXPECT_TEXT(refusal(paths, "test"), "one of test_sft, train");
}

TEST(DatasetFilesTest, FolderNamesComeBeforeFileNames) {
  const Files paths = {"my-train/a.jsonl", "x/dev2/b.jsonl", "test.jsonl", "other.jsonl"};
  EXPECT_EQ(choose(paths), (Files{"my-train/a.jsonl"}));
  EXPECT_EQ(choose(paths, "validation"), (Files{"x/dev2/b.jsonl"}));
  EXPECT_TEXT(refusal(paths, "test"), "one of train, validation");
}

TEST(DatasetFilesTest, WordsInFileNamesAreSetOff) {
  EXPECT_EQ(choose({"eval-set.csv", "train.csv", "training_2.csv", "trainer.csv", "notes.csv"}),
            (Files{"train.csv", "training_2.csv"}));
  EXPECT_EQ(choose({"a.valid.csv", "b.csv"}, "validation"), (Files{"a.valid.csv"}));
  EXPECT_EQ(choose({"train_test.csv"}, "test"), (Files{"train_test.csv"}));
  EXPECT_EQ(choose({"trainer.csv", "Test.csv"}), (Files{"Test.csv", "trainer.csv"}));
}

TEST(DatasetFilesTest, MostCommonKindIsMeantAndWhatIsNoDataIsLeftOut) {
  EXPECT_EQ(choose({"README.md", "dataset_info.json", "a.parquet", "b.jsonl", ".git/x.json",
                    "__pycache__/y.json"}),
            (Files{"a.parquet"}));
  EXPECT_EQ(choose({"a.csv", "b.tsv", "c.jsonl.gz"}), (Files{"c.jsonl.gz"}));
  EXPECT_EQ(choose({"LICENSE.txt", "a.json", "b.jsonl"}), (Files{"a.json", "b.jsonl"}));
  EXPECT_TEXT(refusal({"README.md", "data-00000-of-00001.arrow"}, ""), "to_parquet");
}

constexpr const char* kCard = R"(---
license: mit
configs:
- config_name: main
  default: true
  data_files:
  - split: train
    path: ["main/*.jsonl", "extra.jsonl"]
  - split: held_out
    path: main/eval/**
- config_name: socratic
  data_dir: soc
- config_name: one
  data_files: "one/a?.csv"
---
# Text
)";
const Files kPaths = {"main/a.jsonl", "main/b.jsonl",      "main/eval/x/c.jsonl",
                      "extra.jsonl",  "soc/train.parquet", "soc/test.parquet",
                      "one/a1.csv",   "one/b1.csv",        "train/ignored.jsonl"};

TEST(DatasetFilesTest, CardChoosesByConfigurationAndSplit) {
  EXPECT_EQ(choose(kPaths, "", kCard), (Files{"extra.jsonl", "main/a.jsonl", "main/b.jsonl"}));
  EXPECT_EQ(choose(kPaths, "held_out", kCard), (Files{"main/eval/x/c.jsonl"}));
  EXPECT_EQ(choose(kPaths, "test", kCard, "socratic"), (Files{"soc/test.parquet"}));
  EXPECT_EQ(choose(kPaths, "", kCard, "one"), (Files{"one/a1.csv"}));
}

TEST(DatasetFilesTest, RefusalsNameWhatThereIs) {
  EXPECT_TEXT(refusal(kPaths, "", kCard, "socrates"), "one of main, socratic, one");
  EXPECT_TEXT(refusal(kPaths, "test", kCard), "one of held_out, train");
  EXPECT_TEXT(refusal(kPaths, "train[:10]", kCard), "max_rows");
  EXPECT_TEXT(refusal({"a.jsonl"}, "", "", "main"), "no configuration \"main\"");
  const std::string no_default = "---\nconfigs:\n- config_name: a\n- config_name: b\n---\n";
  EXPECT_TEXT(refusal({"a.jsonl"}, "", no_default), "no default");
  const std::string broken = "---\nconfigs:\n- config_name: [\n---\n";
  EXPECT_TEXT(refusal({"a.jsonl"}, "", broken, "", ErrorKind::kBadInput), "README.md:");
  const std::string odd = "---\nconfigs:\n- data_files:\n  - path: x\n    spilt: y\n---\n";
  EXPECT_TEXT(refusal({"a.jsonl"}, "", odd, "", ErrorKind::kBadInput), "README.md:4");
}

TEST(DatasetFilesTest, WithoutACardAConfigurationIsAFolder) {
  const Files paths = {"main/train/0000.parquet", "main/test/0000.parquet",
                       "socratic/train/0000.parquet"};
  EXPECT_EQ(choose(paths, "", "", "socratic"), (Files{"socratic/train/0000.parquet"}));
  EXPECT_EQ(choose(paths, "test", "", "main"), (Files{"main/test/0000.parquet"}));
}

TEST(GlobTest, StarsStayInAComponentAndTwoStarsCrossThem) {
  EXPECT_TRUE(glob_matches("data/*.jsonl", "data/a.jsonl"));
  EXPECT_FALSE(glob_matches("data/*.jsonl", "data/x/a.jsonl"));
  EXPECT_FALSE(glob_matches("*.jsonl", "data/a.jsonl"));
  EXPECT_TRUE(glob_matches("**/*.jsonl", "a.jsonl"));
  EXPECT_TRUE(glob_matches("**/*.jsonl", "x/y/a.jsonl"));
  EXPECT_TRUE(glob_matches("data/**", "data/x/y"));
  EXPECT_FALSE(glob_matches("data/**", "data"));
  EXPECT_TRUE(glob_matches("a[0-9]?[!x].txt", "a1bc.txt"));
  EXPECT_FALSE(glob_matches("a[0-9]?[!x].txt", "a1bx.txt"));
  EXPECT_TRUE(glob_matches("a[b", "a[b"));
}

TEST(GlobTest, ManyStarsEndSoon) {
  std::string pattern, text(4000, 'a');
  for (int i = 0; i < 500; ++i) pattern += "a*";
  EXPECT_FALSE(glob_matches(pattern + "b", text));
  std::string deep, path;
  for (int i = 0; i < 300; ++i) deep += "**/x/", path += "x/";
  EXPECT_FALSE(glob_matches(deep + "y", path + "z"));
}

TEST(GlobTest, ExpandsBelowTheFixedPartWithoutHiddenFiles) {
  const core::TempFolder folder;
  for (const char* file : {"d/a.jsonl", "d/x/b.jsonl", "d/.h/c.jsonl", "d/n.txt", "e.jsonl"})
    folder.write(file, "{}");
  const std::filesystem::path root = folder.path();
  EXPECT_EQ(expand_glob((root / "d/**/*.jsonl").string()),
            (std::vector{root / "d/a.jsonl", root / "d/x/b.jsonl"}));
  EXPECT_EQ(expand_glob((root / "d/.h/*").string()), (std::vector{root / "d/.h/c.jsonl"}));
  EXPECT_TRUE(expand_glob((root / "none/*").string()).empty());
}

TEST(FileTypeTest, ReadsNamesOfDataFiles) {
  EXPECT_EQ(file_type_of("x/a.JSONL.gz")->compression, Compression::kGzip);
  EXPECT_EQ(file_type_of("a.txt.zst")->kind, FileKind::kText);
  EXPECT_EQ(file_type_of("a.tsv")->extension, ".tsv");
  for (const char* name : {"config.json", "a.parquet.gz", "a.gz", ".jsonl", "a.md", "jsonl"})
    EXPECT_FALSE(file_type_of(name)) << name;
}

}  // namespace
}  // namespace hone::data
