// Files made to exhaust the reader: each ends in an error, in a child whose memory is limited.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <fstream>

#include "data/row_reader.h"
#include "tests/data/support.h"

namespace hone::data {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;

constexpr int kAllRead = 0, kSawProblem = 1, kRefused = 2, kOther = 3;
constexpr size_t kMiB = size_t{1} << 20;

int read_to_the_end(const fs::path& path, const DatasetSource& source) {
  try {
    int result = kAllRead;
    const auto reader = open_rows(path, source);
    for (FileRow row; reader->next(row);) {
      if (!row.problem.what.empty()) result = kSawProblem;
    }
    return result;
  } catch (const core::Error& error) {
    return error.kind() == ErrorKind::kBadInput ? kRefused : kOther;
  } catch (...) {
    return kOther;
  }
}

// In a child whose heap may grow by `mebibytes`, so that the test itself can't exhaust the machine.
int read_in_child(const fs::path& path, size_t mebibytes, const DatasetSource& source = {}) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::ifstream statm("/proc/self/statm");
    size_t pages = 0;
    statm >> pages;
    const rlim_t limit = pages * static_cast<size_t>(::sysconf(_SC_PAGESIZE)) + mebibytes * kMiB;
    const rlimit rule{limit, limit};
    if (::setrlimit(RLIMIT_AS, &rule) != 0) ::_exit(kOther);
    ::_exit(read_to_the_end(path, source));
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

class HostileFileTest : public testing::Test {
 protected:
  fs::path golden(const char* name) {
    return fs::path(test::kSourceDir) / "tests/golden/parquet" / name;
  }
  // A file of `size` times the byte, without memory for it.
  fs::path filled(const char* name, const std::string& head, char byte, size_t mebibytes) {
    const fs::path path = folder_.path() / name;
    std::ofstream out(path, std::ios::binary);
    out << head;
    const std::string block(kMiB, byte);
    for (size_t i = 0; i < mebibytes; ++i) out << block;
    return path;
  }
  TempFolder folder_;
};

TEST_F(HostileFileTest, LinesOfFiftyMegabytesCostNoMemory) {
  EXPECT_EQ(read_in_child(filled("a.jsonl", "{\"a\": \"", 'x', 50), 80), kSawProblem);
  EXPECT_EQ(read_in_child(filled("a.json", "[{\"a\": \"", 'x', 50), 80), kRefused);
  EXPECT_EQ(read_in_child(filled("b.json", "", '[', 50), 80), kRefused);
  EXPECT_EQ(read_in_child(filled("a.csv", "a,b\n\"", 'x', 50), 80), kSawProblem);
  EXPECT_EQ(read_in_child(filled("b.csv", "a,b\n", ',', 50), 80), kSawProblem);
  EXPECT_EQ(read_in_child(filled("a.txt", "", 'x', 50), 80), kSawProblem);
  EXPECT_EQ(read_in_child(filled("b.txt", "", '\n', 50), 80, {.sample_by = SampleBy::kDocument}),
            kSawProblem);
}

TEST_F(HostileFileTest, DecompressionBombsStop) {
  const fs::path path = folder_.path() / "bomb.jsonl.gz";
  gzFile file = ::gzopen(path.c_str(), "wb9");
  const std::string zeros(kMiB, '\0');
  for (int i = 0; i < 80; ++i) ::gzwrite(file, zeros.data(), kMiB);
  ::gzclose(file);
  EXPECT_EQ(read_in_child(path, 60), kRefused);
}

TEST_F(HostileFileTest, ParquetPageThatDeclaresTooMuchIsRefusedBeforeItIsDecoded) {
  const Failure failure = failure_of([&] { read_to_the_end(golden("bomb.parquet"), {}); });
  EXPECT_FALSE(failure.thrown);
  EXPECT_EQ(read_in_child(golden("bomb.parquet"), 40), kRefused);
}

TEST_F(HostileFileTest, ParquetCutOffOrWithAnyByteChangedIsReadOrRefused) {
  const std::string whole = core::read_file(golden("rows.parquet"));
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(STDERR_FILENO);   // the decoder reports its own panics there
#ifndef __SANITIZE_ADDRESS__  // its shadow memory alone is terabytes of address space
    const rlimit rule{2048 * kMiB, 2048 * kMiB};
    if (::setrlimit(RLIMIT_AS, &rule) != 0) ::_exit(kOther);
#endif
    int worst = kAllRead;
    for (size_t i = 0; i < whole.size(); i += 11) {
      std::string changed = whole;
      changed[i] = static_cast<char>(changed[i] ^ (i % 2 == 0 ? 0xFF : 0x11));
      for (const std::string& text : {changed, whole.substr(0, i)})
        worst = std::max(
            worst, read_to_the_end(folder_.write("x.parquet", text), {.format = RowFormat::kText}));
    }
    ::_exit(worst);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), kRefused);
}

class HostileRowTest : public testing::Test {
 protected:
  Failure prepared(const std::string& rows, DatasetOptions options = {}) {
    const Tokenizer tokenizer = make_tokenizer(folder_, "llama2", "");
    const DatasetSource source{.path = folder_.write("rows.jsonl", rows),
                               .format = RowFormat::kText};
    return failure_of([&] {
      num_rows_ =
          prepare_dataset({source}, options, tokenizer, folder_.path() / "cache").num_rows();
    });
  }
  TempFolder folder_;
  int64_t num_rows_ = 0;
};

constexpr const char* kGood = "{\"text\": \"good\"}\n";

TEST_F(HostileRowTest, DeepNestingAndNulAreBadRowsWithTheirPlace) {
  for (const std::string& row :
       {"{\"text\": " + std::string(100000, '[') + "}", std::string("{\"text\": \"a\0b\"}", 14)}) {
    const Failure failure = prepared(kGood + row + "\n");
    EXPECT_EQ(failure.kind, ErrorKind::kBadInput);
    EXPECT_NE(failure.message.find("rows.jsonl:2: "), std::string::npos) << failure.message;
    EXPECT_LT(failure.message.size(), 600U);
    EXPECT_FALSE(prepared(kGood + row + "\n", {.on_bad_row = BadRowPolicy::kSkip}).thrown);
    EXPECT_EQ(num_rows_, 1);
  }
}

TEST_F(HostileRowTest, TooLongRowIsSkippedLikeAnyOther) {
  const std::string row = "{\"text\": \"" + std::string(17 << 20, 'x') + "\"}\n";
  EXPECT_FALSE(prepared(kGood + row + kGood, {.on_bad_row = BadRowPolicy::kSkip}).thrown);
  EXPECT_EQ(num_rows_, 2);
}

TEST_F(HostileRowTest, CapOfBadRowsAsNumberAndFraction) {
  std::string rows;
  for (int i = 0; i < 100; ++i) rows += i % 10 == 3 ? "bad\n" : kGood;
  const auto with = [&](double max_bad_rows) {
    return prepared(rows, {.on_bad_row = BadRowPolicy::kSkip, .max_bad_rows = max_bad_rows});
  };
  EXPECT_FALSE(with(0).thrown);
  EXPECT_FALSE(with(10).thrown);
  EXPECT_FALSE(with(0.1).thrown);
  const Failure number = with(9), fraction = with(0.05);
  EXPECT_EQ(number.kind, ErrorKind::kBadInput);
  EXPECT_NE(number.message.find("at most 9"), std::string::npos) << number.message;
  EXPECT_NE(fraction.message.find("10 of 100"), std::string::npos) << fraction.message;
  EXPECT_NE(fraction.message.find("rows.jsonl:4"), std::string::npos) << fraction.message;
}

}  // namespace
}  // namespace hone::data
