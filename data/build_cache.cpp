#include "data/build_cache.h"

#include <algorithm>
#include <thread>

#include "core/error.h"
#include "core/text.h"
#include "data/built_row.h"
#include "data/ordered_map.h"
#include "data/row_sink.h"
#include "data/row_stream.h"

namespace hone::data {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

constexpr size_t kMaxBytesUnderWay = size_t{16} << 20;

struct BuiltChunk {
  struct Row {
    BuiltRow built;
    std::string bad_row;  // why it is skipped; "": it is not
  };
  size_t source = 0;
  std::vector<Row> rows;
  double fraction = 0;
};

// The problem with its place in the file, the template's place if any moved into the text, and how
// the row begins.
core::Error located(ErrorKind kind, core::ErrorDetail detail, const fs::path& path,
                    const FileRow& row) {
  if (!detail.where.empty()) detail.what = detail.where + ": " + detail.what;
  detail.where = path.string() + ":" + std::to_string(row.line);
  if (!detail.hint.empty()) detail.hint += "; ";
  detail.hint += "row: " + core::excerpt(row.text, 80);
  return core::Error(kind, std::move(detail));
}

// Counts rows, and stops when more of them are bad than the recipe allows.
class BadRowLimit {
 public:
  explicit BadRowLimit(double max_bad_rows) : max_bad_rows_(max_bad_rows) {}

  void add(const std::string& bad_row) {
    ++num_rows_;
    if (bad_row.empty()) return;
    if (num_bad_rows_++ == 0) first_ = bad_row;
    if (max_bad_rows_ >= 1) check(max_bad_rows_);
  }
  // A fraction can be judged only when all rows are known.
  void finish() const {
    if (max_bad_rows_ > 0 && max_bad_rows_ < 1)
      check(max_bad_rows_ * static_cast<double>(num_rows_));
  }

 private:
  void check(double limit) const {
    // A dataset whose every row is bad is told as one without rows.
    if (static_cast<double>(num_bad_rows_) <= limit || num_bad_rows_ == num_rows_) return;
    core::fail(ErrorKind::kBadInput,
               {.what = "too many bad rows",
                .got = core::format_count(num_bad_rows_) + " of " + core::format_count(num_rows_),
                .expected = "at most " + core::format_count(static_cast<uint64_t>(limit)) +
                            " (max_bad_rows)",
                .hint = "the first: " + first_});
  }

  double max_bad_rows_;
  uint64_t num_rows_ = 0, num_bad_rows_ = 0;
  std::string first_;
};

BuiltChunk build_chunk(const RowChunk& chunk, const DatasetSource& source,
                       const DatasetOptions& options, const Tokenizer& tokenizer) {
  BuiltChunk built{.source = chunk.source, .fraction = chunk.fraction};
  for (const FileRow& row : chunk.rows) {
    try {
      if (!row.problem.what.empty()) throw core::Error(ErrorKind::kBadInput, row.problem);
      built.rows.push_back({build_row(row.text, source, options, tokenizer), ""});
    } catch (const core::Error& error) {
      if (error.kind() != ErrorKind::kBadInput) throw;
      const core::Error full = located(error.kind(), error.detail(), chunk.path, row);
      if (options.on_bad_row == BadRowPolicy::kError) throw full;
      built.rows.push_back({{}, full.what()});
    }
  }
  return built;
}

}  // namespace

void build_token_cache(const std::vector<DatasetSource>& sources,
                       const std::vector<std::vector<fs::path>>& files,
                       const DatasetOptions& options, const Tokenizer& tokenizer,
                       const fs::path& cache_folder, const std::string& key,
                       const Progress& progress) {
  RowStream stream(sources, files);
  RowSink sink(sources, options, cache_folder, key);
  BadRowLimit limit(options.max_bad_rows);
  auto read = [&] { return stream.next(); };
  const auto work = [&](const RowChunk& chunk) {
    return build_chunk(chunk, sources[chunk.source], options, tokenizer);
  };
  const auto cost = [](const RowChunk& chunk) { return chunk.num_bytes; };
  double reported = 0;
  OrderedMap map(read, work, cost, kMaxBytesUnderWay);
  map.run(std::max(1u, std::thread::hardware_concurrency()), [&](const BuiltChunk& chunk) {
    for (const BuiltChunk::Row& row : chunk.rows) {
      limit.add(row.bad_row);
      if (row.bad_row.empty()) {
        sink.add(chunk.source, row.built);
      } else {
        sink.add_bad_row(chunk.source, row.bad_row);
      }
    }
    if (progress && chunk.fraction > reported && chunk.fraction < 1)
      progress(reported = chunk.fraction);
  });
  limit.finish();
  sink.finish();
  if (progress) progress(1);
}

}  // namespace hone::data
