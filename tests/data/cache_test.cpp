#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "data/data_files.h"
#include "data/token_cache.h"
#include "tests/data/support.h"

namespace hone::data {
namespace {
namespace fs = std::filesystem;

constexpr const char* kRows = "{\"text\": \"one\"}\n{\"text\": \"two\"}\n";

class CacheTest : public testing::Test {
 protected:
  CacheTest() : tokenizer_(make_tokenizer(folder_, "llama2", "")) {
    source_ = {.path = folder_.write("rows.jsonl", kRows), .format = RowFormat::kText};
  }
  TokenCache prepare() {
    return prepare_dataset({source_}, options_, tokenizer_, root(), progress());
  }
  Progress progress() {
    return [this](double) { built_ = true; };
  }
  // Whether preparing (re)built the cache.
  bool builds() {
    built_ = false;
    prepare();
    return built_;
  }
  fs::path root() const { return folder_.path() / "cache"; }

  TempFolder folder_;
  Tokenizer tokenizer_;
  DatasetSource source_;
  DatasetOptions options_;
  bool built_ = false;
};

TEST_F(CacheTest, SecondStartReadsTheCache) {
  EXPECT_TRUE(builds());
  EXPECT_FALSE(builds());
}

TEST_F(CacheTest, ContentOptionsAndTokenizerMakeANewCache) {
  EXPECT_TRUE(builds());
  options_.max_length = 77;
  EXPECT_TRUE(builds());
  source_.max_rows = 1;
  EXPECT_TRUE(builds());
  folder_.write("rows.jsonl",
                "{\"text\": \"one\"}\n{\"text\": \"six\"}\n");  // as many bytes as before
  EXPECT_TRUE(builds());
  tokenizer_ = make_tokenizer(folder_, "mistral", "");
  EXPECT_TRUE(builds());
}

TEST_F(CacheTest, MovedFileKeepsItsCache) {
  EXPECT_TRUE(builds());
  fs::rename(source_.path, folder_.path() / "moved.jsonl");
  source_.path = folder_.path() / "moved.jsonl";
  EXPECT_FALSE(builds());
}

TEST_F(CacheTest, DamagedCacheIsBuiltAgain) {
  const std::string key = prepare().key();
  fs::resize_file(root() / key.substr(0, 32) / "ids.bin", 4);
  EXPECT_TRUE(builds());
  std::ofstream(root() / key.substr(0, 32) / "meta.json") << "{";
  EXPECT_TRUE(builds());
  EXPECT_FALSE(builds());
}

TEST_F(CacheTest, DamageIsNamedOnOpen) {
  const std::string key = prepare().key();
  fs::resize_file(root() / key.substr(0, 32) / "trained.bin", 1);
  const Failure failure = failure_of([&] { TokenCache::open(root() / key.substr(0, 32)); });
  EXPECT_EQ(failure.kind, core::ErrorKind::kBadInput);
  EXPECT_NE(failure.message.find("trained.bin"), std::string::npos);
}

TEST_F(CacheTest, FailedBuildLeavesNothingBehind) {
  source_.path = folder_.write("rows.jsonl", std::string(kRows) + "broken");
  EXPECT_THROW(prepare(), core::Error);
  for (const auto& entry : fs::directory_iterator(root())) {
    EXPECT_TRUE(entry.path().extension() == ".lock" || entry.path().filename() == "content")
        << entry.path();
  }
}

TEST_F(CacheTest, LeftoversOfAKilledBuildAreRemoved) {
  const std::string name = prepare().key().substr(0, 32);
  fs::remove_all(root() / name);
  const fs::path leftover = root() / (name + ".building.12345");
  fs::create_directories(leftover);
  EXPECT_TRUE(builds());
  EXPECT_FALSE(fs::exists(leftover));
}

TEST_F(CacheTest, OneOfSeveralProcessesBuilds) {
  std::string rows;
  for (int i = 0; i < 3000; ++i)
    rows += "{\"text\": \"some words number " + std::to_string(i) + "\"}\n";
  source_.path = folder_.write("rows.jsonl", rows);
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        const bool built = builds();
        std::ofstream(folder_.path() / ("result" + std::to_string(i)))
            << (built ? "built" : "read");
        ::_exit(prepare().num_rows() == 3000 ? 0 : 1);
      } catch (...) {
        ::_exit(2);
      }
    }
    children.push_back(child);
  }
  std::multiset<std::string> results;
  for (size_t i = 0; i < children.size(); ++i) {
    int status = 0;
    ::waitpid(children[i], &status, 0);
    EXPECT_EQ(status, 0);
    results.insert(core::read_file(folder_.path() / ("result" + std::to_string(i))));
  }
  EXPECT_EQ(results.count("built"), 1u);
  EXPECT_EQ(results.count("read"), 3u);
}

TEST_F(CacheTest, ContentHashIsRememberedOnlyForSettledFiles) {
  const fs::path memo = folder_.path() / "memo";
  const std::string first = content_hash(source_.path, memo);
  EXPECT_FALSE(fs::exists(memo)) << "a file just written may change again within its time stamp";
  const auto old = fs::last_write_time(source_.path) - std::chrono::hours(1);
  fs::last_write_time(source_.path, old);
  EXPECT_EQ(content_hash(source_.path, memo), first);
  EXPECT_TRUE(fs::exists(memo));
  // The same size and time: the remembered hash is taken without reading.
  folder_.write("rows.jsonl", "{\"text\": \"xxx\"}\n{\"text\": \"two\"}\n");
  fs::last_write_time(source_.path, old);
  EXPECT_EQ(content_hash(source_.path, memo), first);
  fs::last_write_time(source_.path, old - std::chrono::hours(1));
  EXPECT_NE(content_hash(source_.path, memo), first);
}

}  // namespace
}  // namespace hone::data
