// Several datasets in one cache: whose row is whose, duplicates, names.
#include "data/loader.h"
#include "data/row_hash_set.h"
#include "data/source_names.h"
#include "tests/data/support.h"

namespace hone::data {
namespace {

std::string chat_line(const std::string& question, const std::string& answer) {
  return Json{{"messages",
               {{{"role", "user"}, {"content", question}},
                {{"role", "assistant"}, {"content", answer}}}}}
             .dump() +
         "\n";
}

class SourcesTest : public testing::Test {
 protected:
  SourcesTest() : tokenizer_(make_chatml(folder_)) {}
  DatasetSource source(const std::string& file, const std::string& rows,
                       RowFormat format = RowFormat::kMessages) {
    return {.path = folder_.write(file, rows), .format = format};
  }
  TokenCache prepare(const std::vector<DatasetSource>& sources) {
    return prepare_dataset(sources, options_, tokenizer_, folder_.path() / "cache");
  }
  TempFolder folder_;
  Tokenizer tokenizer_;
  DatasetOptions options_;
};

TEST_F(SourcesTest, EachRowKnowsItsDataset) {
  const TokenCache cache = prepare({source("a.jsonl", chat_line("a", "1") + chat_line("b", "2")),
                                    source("b.jsonl", chat_line("c", "3"))});
  ASSERT_EQ(cache.num_sources(), 2);
  EXPECT_EQ(cache.source_of(0), 0);
  EXPECT_EQ(cache.source_of(1), 0);
  EXPECT_EQ(cache.source_of(2), 1);
  EXPECT_EQ(cache.source_totals()[0].num_rows, 2);
  EXPECT_EQ(cache.source_totals()[1].num_rows, 1);
  EXPECT_EQ(cache.totals().num_tokens,
            cache.source_totals()[0].num_tokens + cache.source_totals()[1].num_tokens);
}

TEST_F(SourcesTest, MicroBatchesSayWhichDatasetADocumentIsFrom) {
  const TokenCache cache = prepare({source("a.jsonl", chat_line("a", "1") + chat_line("b", "2")),
                                    source("b.jsonl", chat_line("c", "3"))});
  const Loader loader(cache, {.packing = true, .weights = {1, 3}});
  const MicroBatch batch = loader.micro_batch(0, 0);
  ASSERT_EQ(batch.source_ids.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(batch.source_ids[i], cache.source_of(batch.sample_ids[i]));
  }
  EXPECT_EQ(std::ranges::count(batch.source_ids, 1), 2);  // 3 draws, 2.25 of them
}

TEST_F(SourcesTest, UntrainedRowsTakeNoPartInAMix) {
  options_.assistant_only_loss = true;
  const std::string untrained = R"({"messages": [{"role": "user", "content": "only"}]})"
                                "\n";
  const TokenCache cache = prepare({source("a.jsonl", untrained + chat_line("a", "1") + untrained),
                                    source("b.jsonl", untrained + chat_line("b", "2"))});
  const Loader loader(cache, {.weights = {1, 1}});
  EXPECT_EQ(loader.num_draws(0), 1);
  EXPECT_EQ(loader.num_draws(1), 1);
  for (int64_t step = 0; step < 4; ++step) {
    const int64_t row = loader.micro_batch(step, 0).sample_ids[0];
    EXPECT_TRUE(row == 1 || row == 4) << row;
  }
}

TEST_F(SourcesTest, DuplicatesAreFoundAcrossFormatsFilesAndKeyOrder) {
  options_.deduplicate = true;
  const std::string twisted =
      R"({"messages": [{"content": "a", "role": "user"}, {"content": "1", "role": "assistant"}]})"
      "\n";
  const std::string sharegpt =
      R"({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "1"}]})"
      "\n";
  const TokenCache cache = prepare(
      {source("a.jsonl", chat_line("a", "1") + chat_line("a", "2") + chat_line("a", "1")),
       source("b.jsonl", twisted + chat_line("b", "1")),
       source("c.jsonl",
              sharegpt + sharegpt + R"({"conversations": [{"from": "human", "value": "c"}]})",
              RowFormat::kShareGpt)});
  EXPECT_EQ(cache.num_rows(), 4);
  EXPECT_EQ(cache.totals().num_duplicate_rows, 4);
  EXPECT_EQ(cache.source_totals()[0].num_rows, 2);
  EXPECT_EQ(cache.source_totals()[1].num_duplicate_rows, 1);
  EXPECT_EQ(cache.source_totals()[2].num_duplicate_rows, 2);
}

TEST_F(SourcesTest, DuplicatesStayUnlessAskedFor) {
  const TokenCache cache = prepare({source("a.jsonl", chat_line("a", "1") + chat_line("a", "1"))});
  EXPECT_EQ(cache.num_rows(), 2);
  EXPECT_EQ(cache.totals().num_duplicate_rows, 0);
}

TEST(RowHashSetTest, KnowsEveryHashAfterItHasGrown) {
  const TempFolder folder;
  RowHashSet set(folder.path());
  constexpr uint64_t kCount = 300'000;
  // Pairs want the same slot.
  for (uint64_t i = 1; i <= kCount; ++i) ASSERT_TRUE(set.insert({i / 2 * 0x9E3779B97F4A7C15, i}));
  for (uint64_t i = 1; i <= kCount; i += 97)
    ASSERT_FALSE(set.insert({i / 2 * 0x9E3779B97F4A7C15, i}));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SourceNamesTest, ShortestEndOfThePathThatTellsThemApart) {
  const auto names = [](const std::vector<std::string>& paths) {
    std::vector<DatasetSource> sources;
    for (const std::string& path : paths) sources.push_back({.path = path});
    return source_names(sources);
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names({"data/chat.jsonl", "data/code.jsonl.gz"}), (Names{"chat", "code"}));
  EXPECT_EQ(names({"a/train.jsonl", "b/train.jsonl", "c/x"}), (Names{"a/train", "b/train", "x"}));
  EXPECT_EQ(names({"HuggingFaceH4/ultrachat", "me/own/"}), (Names{"ultrachat", "own"}));
  EXPECT_EQ(names({"chat.jsonl", "chat.jsonl"}), (Names{"chat", "chat#2"}));
  EXPECT_EQ(source_names({{.path = "me/own", .split = "a"},
                          {.path = "me/own", .split = "b", .config_name = "en"},
                          {.path = "other", .split = "a"}}),
            (Names{"own:a", "own:en:b", "other"}));
}

}  // namespace
}  // namespace hone::data
