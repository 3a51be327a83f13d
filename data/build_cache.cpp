#include "data/build_cache.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "core/error.h"
#include "core/text.h"
#include "data/built_row.h"
#include "data/data_files.h"
#include "data/row_sink.h"

namespace hone::data {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

constexpr size_t kChunkRows = 32;
constexpr size_t kChunksAhead = 64;  // finished chunks that may wait for the writer

struct SourceRow {
  size_t source;
  const DataFile* file;
  RowSlice slice;
};

struct ChunkRow {
  size_t source;
  BuiltRow built;
  std::string bad_row;  // why it is skipped; "": it is not
};

struct Chunk {
  std::vector<ChunkRow> rows;
  std::exception_ptr error;
};

// The row's error with its place in the file, the template's place if any moved into the text, and
// how the row begins.
core::Error located(const core::Error& error, const SourceRow& row) {
  core::ErrorDetail detail = error.detail();
  if (!detail.where.empty()) detail.what = detail.where + ": " + detail.what;
  detail.where = row.file->path().string() + ":" + std::to_string(row.slice.line);
  if (!detail.hint.empty()) detail.hint += "; ";
  detail.hint += "row: " + core::excerpt(row.slice.text, 80);
  return core::Error(error.kind(), std::move(detail));
}

class CacheBuilder {
 public:
  CacheBuilder(std::vector<SourceRow> rows, const std::vector<DatasetSource>& sources,
               const DatasetOptions& options, const Tokenizer& tokenizer)
      : rows_(std::move(rows)),
        sources_(sources),
        options_(options),
        tokenizer_(tokenizer),
        chunks_((rows_.size() + kChunkRows - 1) / kChunkRows) {}

  // Runs the workers and hands each chunk, in order, to `consume`.
  template <typename Consume>
  void run(const Consume& consume) {
    const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
    const auto num_workers = std::min<size_t>(cores, chunks_.size());
    std::vector<std::jthread> workers;
    for (size_t i = 0; i < num_workers; ++i) workers.emplace_back([this] { work(); });
    try {
      for (size_t i = 0; i < chunks_.size(); ++i) {
        Chunk chunk = wait_for(i);
        if (chunk.error) std::rethrow_exception(chunk.error);
        consume(chunk, i + 1 == chunks_.size() ? 1.0 : static_cast<double>(i + 1) / chunks_.size());
      }
    } catch (...) {
      stop();
      throw;
    }
  }

 private:
  void work() {
    for (;;) {
      const size_t index = next_.fetch_add(1);
      if (index >= chunks_.size()) return;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stopped_ || index < consumed_ + kChunksAhead; });
        if (stopped_) return;
      }
      auto chunk = std::make_unique<Chunk>(make_chunk(index));
      std::lock_guard lock(mutex_);
      chunks_[index] = std::move(chunk);
      changed_.notify_all();
    }
  }

  Chunk wait_for(size_t index) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return chunks_[index] != nullptr; });
    Chunk chunk = std::move(*chunks_[index]);
    chunks_[index].reset();
    consumed_ = index + 1;
    changed_.notify_all();
    return chunk;
  }

  void stop() {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }

  Chunk make_chunk(size_t index) const {
    Chunk chunk;
    const size_t end = std::min(rows_.size(), (index + 1) * kChunkRows);
    try {
      for (size_t i = index * kChunkRows; i < end; ++i) add_row(rows_[i], chunk);
    } catch (...) {
      chunk.error = std::current_exception();
    }
    return chunk;
  }

  void add_row(const SourceRow& row, Chunk& chunk) const {
    try {
      chunk.rows.push_back(
          {row.source, build_row(row.slice.text, sources_[row.source], options_, tokenizer_), ""});
    } catch (const core::Error& error) {
      if (error.kind() != ErrorKind::kBadInput) throw;
      const core::Error full = located(error, row);
      if (options_.on_bad_row == BadRowPolicy::kError) throw full;
      chunk.rows.push_back({row.source, {}, full.what()});
    }
  }

  const std::vector<SourceRow> rows_;
  const std::vector<DatasetSource>& sources_;
  const DatasetOptions& options_;
  const Tokenizer& tokenizer_;
  std::atomic<size_t> next_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Chunk>> chunks_;
  size_t consumed_ = 0;
  bool stopped_ = false;
};

}  // namespace

void build_token_cache(const std::vector<DatasetSource>& sources,
                       const std::vector<std::vector<fs::path>>& files,
                       const DatasetOptions& options, const Tokenizer& tokenizer,
                       const fs::path& cache_folder, const std::string& key,
                       const Progress& progress) {
  std::vector<std::unique_ptr<DataFile>> opened;
  std::vector<SourceRow> rows;
  for (size_t s = 0; s < sources.size(); ++s) {
    int64_t left = sources[s].max_rows;
    for (const fs::path& path : files[s]) {
      opened.push_back(std::make_unique<DataFile>(path, left));
      const DataFile& file = *opened.back();
      for (const RowSlice& slice : file.rows()) rows.push_back({s, &file, slice});
      if (sources[s].max_rows > 0 && (left -= static_cast<int64_t>(file.rows().size())) <= 0) break;
    }
  }
  RowSink sink(sources, options, cache_folder, key);
  CacheBuilder builder(std::move(rows), sources, options, tokenizer);
  builder.run([&](const Chunk& chunk, double fraction) {
    for (const ChunkRow& row : chunk.rows) {
      if (row.bad_row.empty()) {
        sink.add(row.source, row.built);
      } else {
        sink.add_bad_row(row.source, row.bad_row);
      }
    }
    if (progress) progress(fraction);
  });
  sink.finish();
}

}  // namespace hone::data
