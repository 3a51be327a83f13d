// Data files of the other kinds: the first byte says which, the rest is the file.
#include <array>

#include "data/row_reader.h"
#include "tests/fuzz/target.h"

namespace hone::fuzz {
namespace {

constexpr std::array kNames = {"input.csv",      "input.tsv",       "input.txt",    "input.csv.gz",
                               "input.jsonl.gz", "input.jsonl.zst", "input.parquet"};

}  // namespace

void fuzz_rows(std::string_view input) {
  if (input.empty()) return;
  const auto kind = static_cast<unsigned char>(input.front()) % kNames.size();
  const auto path = write_scratch(kNames.at(kind), input.substr(1));
  accepts([&] {
    const auto reader = data::open_rows(path, {});
    uint64_t last_line = 0;
    for (data::FileRow row; reader->next(row);) {
      require(row.line >= last_line, "rows are out of order");
      require(!row.text.empty() || !row.problem.what.empty(), "a row of nothing");
      last_line = row.line;
    }
    require(reader->fraction() >= 0 && reader->fraction() <= 1.0001, "more was read than there is");
  });
}

}  // namespace hone::fuzz
