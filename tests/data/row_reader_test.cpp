#include "data/row_reader.h"

#include <zlib.h>
#include <zstd.h>

#include "tests/data/support.h"

namespace hone::data {
namespace {

using core::ErrorKind;

struct Read {
  std::vector<Json> rows;
  std::vector<uint64_t> lines;
  std::vector<std::string> problems;  // "3: row is too long"
};

Read read_all(const std::filesystem::path& path, const DatasetSource& source = {}) {
  Read result;
  const auto reader = open_rows(path, source);
  for (FileRow row; reader->next(row);) {
    if (!row.problem.what.empty()) {
      result.problems.push_back(std::to_string(row.line) + ": " + row.problem.what);
      continue;
    }
    result.rows.push_back(core::parse_json(row.text, path.string()));
    result.lines.push_back(row.line);
  }
  return result;
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

class RowReaderTest : public testing::Test {
 protected:
  Read read(const std::string& name, const std::string& text, const DatasetSource& source = {}) {
    return read_all(folder_.write(name, text), source);
  }
  Failure refused(const std::string& name, const std::string& text) {
    const auto path = folder_.write(name, text);
    const Failure failure = failure_of([&] { read_all(path); });
    EXPECT_TRUE(failure.thrown);
    EXPECT_EQ(failure.kind, ErrorKind::kBadInput);
    EXPECT_NE(failure.message.find(name), std::string::npos) << failure.message;
    return failure;
  }
  TempFolder folder_;
};

TEST_F(RowReaderTest, JsonLinesKeepTheirNumbersAcrossEmptyOnesAndPieces) {
  const std::string big(3 << 20, 'x');
  const Read rows =
      read("a.jsonl", "\xEF\xBB\xBF{\"a\": 1}\r\n\n  {\"a\": \"" + big + "\"}\n \n{\"a\": 3}");
  EXPECT_EQ(rows.lines, (std::vector<uint64_t>{1, 3, 5}));
  EXPECT_EQ(rows.rows[1]["a"].get<std::string>().size(), big.size());
}

TEST_F(RowReaderTest, JsonArrayElementsAreRows) {
  const Read rows =
      read("a.json", "\n [{\"a\": \"],}\\\"\"},\n\n {\"a\": [1, {\"b\": 2}]} ,{}]\n ");
  ASSERT_EQ(rows.rows.size(), 3U);
  EXPECT_EQ(rows.rows[0]["a"], "],}\"");
  EXPECT_EQ(rows.rows[1]["a"][1]["b"], 2);
  EXPECT_EQ(rows.lines, (std::vector<uint64_t>{2, 4, 4}));
  EXPECT_TRUE(read("b.json", "[]").rows.empty());
  EXPECT_EQ(read("c.json", "{\"a\": 1}\n{\"a\": 2}").rows.size(), 2U);
}

TEST_F(RowReaderTest, CsvQuotesHoldLineEndsSeparatorsAndQuotes) {
  const Read rows = read("a.csv",
                         "\xEF\xBB\xBF"
                         "prompt,\"the, completion\",\r\n"
                         "\"two\nlines\r\n\",\"say \"\"hi\"\"\",1\r\n"
                         "\r\n"
                         "5\" disk,,\"\"\r"
                         "last,x,y");
  ASSERT_EQ(rows.rows.size(), 3U);
  EXPECT_EQ(
      rows.rows[0],
      (Json{{"prompt", "two\nlines\r\n"}, {"the, completion", "say \"hi\""}, {"Unnamed: 2", "1"}}));
  EXPECT_EQ(rows.rows[1],
            (Json{{"prompt", "5\" disk"}, {"the, completion", nullptr}, {"Unnamed: 2", ""}}));
  EXPECT_EQ(rows.lines, (std::vector<uint64_t>{2, 6, 7}));
}

TEST_F(RowReaderTest, CsvRecordsThatBreakTheRulesAreBadRows) {
  const Read rows = read("a.csv", "a,b\n1\n1,2,3\n\"x\"y,2\n\xFF,2\nok,ok\n\"open,2\nmore\n");
  EXPECT_EQ(rows.problems,
            (std::vector<std::string>{"2: wrong number of cells", "3: wrong number of cells",
                                      "4: text after a closing quote", "5: text is not valid UTF-8",
                                      "7: a quote is never closed"}));
  EXPECT_EQ(rows.rows.size(), 1U);
  EXPECT_NE(refused("b.csv", "a,a\n1,2\n").message.find("twice"), std::string::npos);
  EXPECT_NE(refused("c.csv", "\xFF\xFEx").message.find("UTF-16"), std::string::npos);
}

TEST_F(RowReaderTest, CsvCellsOfMessagesMayBeJson) {
  const DatasetSource source{.format = RowFormat::kMessages, .columns = {{"messages", "chat"}}};
  const Read rows = read("a.tsv", "chat\tnote\n[{\"role\":1}]\t[1]\n[oops\tx\n", source);
  EXPECT_EQ(rows.rows[0], (Json{{"chat", {{{"role", 1}}}}, {"note", "[1]"}}));
  EXPECT_EQ(rows.rows[1]["chat"], "[oops");
}

TEST_F(RowReaderTest, TextByLineParagraphAndDocument) {
  const std::string text = "one\r\ntwo \"q\"\n\n\n  \nthree\n";
  const auto texts = [&](SampleBy by) {
    std::vector<std::string> result;
    for (const Json& row : read("a.txt", text, {.sample_by = by}).rows)
      result.push_back(row["text"]);
    return result;
  };
  EXPECT_EQ(texts(SampleBy::kLine), (std::vector<std::string>{"one", "two \"q\"", "three"}));
  EXPECT_EQ(texts(SampleBy::kParagraph), (std::vector<std::string>{"one\ntwo \"q\"", "  \nthree"}));
  EXPECT_EQ(texts(SampleBy::kDocument),
            (std::vector<std::string>{"one\ntwo \"q\"\n\n\n  \nthree"}));
  EXPECT_EQ(read("b.txt", "a\xFF\nb\n").problems,
            (std::vector<std::string>{"1: text is not valid UTF-8"}));
}

TEST_F(RowReaderTest, ParquetRowsWithNestedColumnsAndTypes) {
  const auto path = std::filesystem::path(test::kSourceDir) / "tests/golden/parquet/rows.parquet";
  const Read rows = read_all(path, {.format = RowFormat::kText});
  ASSERT_EQ(rows.rows.size(), 4U);
  EXPECT_EQ(rows.lines.back(), 4U);
  EXPECT_EQ(rows.rows[0], core::parse_json(
                              R"({"messages": [{"role": "user", "content": "A \"quoted\"\nline"},
                  {"role": "assistant", "content": "né 🙂"}], "score": 0.5, "day": "2024-02-29",
                  "at": "2024-02-29T12:30:01.000005", "price": "12.30", "blob": "text",
                  "tags": [["a"], []], "map": [["k", 1]]})",
                              ""));
  EXPECT_EQ(rows.rows[1]["blob"], "/wAB");
  EXPECT_EQ(rows.rows[1]["price"], "-0.05");
  EXPECT_EQ(rows.rows[1]["day"], "1969-12-31");
  EXPECT_EQ(rows.rows[2]["messages"], Json::array());
  EXPECT_EQ(rows.rows[2]["score"], -1e300);
  EXPECT_EQ(rows.rows[3]["tags"], (Json{nullptr, {"b", nullptr}}));
  EXPECT_TRUE(rows.rows[3]["messages"].is_null());
  // Only what the format reads.
  EXPECT_EQ(read_all(path).rows[0].size(), 1U);
}

TEST_F(RowReaderTest, CompressedFilesOfSeveralMembers) {
  const std::string a = "{\"a\": 1}\n{\"a\"", b = ": 2}\n";
  EXPECT_EQ(read("a.jsonl.gz", gzip(a) + gzip(b)).rows.size(), 2U);
  EXPECT_EQ(read("b.jsonl.gz", gzip(a) + gzip(b) + std::string(600, '\0')).rows.size(), 2U);
  EXPECT_EQ(read("a.jsonl.zst", zstd(a) + zstd(b)).rows.size(), 2U);
  EXPECT_EQ(read("a.csv.gz", gzip("x,y\n1,2\n")).rows[0]["y"], "2");
  EXPECT_EQ(read("a.txt.zst", zstd("")).rows.size(), 0U);
}

TEST_F(RowReaderTest, DamagedCompressionNamesTheByte) {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "{\"a\": " + std::to_string(i * 7919 % 10007) + "}\n";
  const std::string gz = gzip(text), zst = zstd(text);
  EXPECT_NE(refused("a.jsonl.gz", gz.substr(0, gz.size() - 9)).message.find("cut off at byte"),
            std::string::npos);
  EXPECT_NE(refused("b.jsonl.gz", gz + "tail").message.find("followed by something else"),
            std::string::npos);
  EXPECT_NE(refused("c.jsonl.zst", zst.substr(0, zst.size() / 2)).message.find("cut off"),
            std::string::npos);
  EXPECT_NE(refused("d.jsonl.zst", zst + "tail").message.find("damaged at byte"),
            std::string::npos);
  EXPECT_NE(refused("e.jsonl.gz", text).message.find("damaged at byte"), std::string::npos);
  std::string broken = gz;
  broken[broken.size() / 2] ^= 0x55;
  refused("f.jsonl.gz", broken);
}

}  // namespace
}  // namespace hone::data
