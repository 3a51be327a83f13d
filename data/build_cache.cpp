#include "data/build_cache.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "data/data_files.h"
#include "data/row_format.h"
#include "data/row_tokens.h"
#include "data/token_cache.h"

namespace hone::data {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

constexpr size_t kChunkRows = 32;
constexpr size_t kChunksAhead = 64;  // finished chunks that may wait for the writer

struct SourceRow {
  const DatasetSource* source;
  const DataFile* file;
  RowSlice slice;
};

struct Chunk {
  std::vector<MaskedTokens> rows;
  DatasetTotals totals;
  bool has_end_of_turn = false;
  std::string first_bad_row;
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
  CacheBuilder(std::vector<SourceRow> rows, const DatasetOptions& options,
               const Tokenizer& tokenizer)
      : rows_(std::move(rows)),
        options_(options),
        tokenizer_(tokenizer),
        use_chat_template_(tokenizer.has_chat_template()),
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
    std::vector<MaskedTokens> tokenized;
    try {
      const Row parsed = parse_row(row.slice.text, *row.source, options_, use_chat_template_);
      tokenized = tokenize_row(parsed, options_, tokenizer_);
    } catch (const core::Error& error) {
      if (error.kind() != ErrorKind::kBadInput) throw;
      const core::Error full = located(error, row);
      if (options_.on_bad_row == BadRowPolicy::kError) throw full;
      if (chunk.totals.num_bad_rows++ == 0) chunk.first_bad_row = full.what();
      return;
    }
    if (tokenized.size() > 1) ++chunk.totals.num_split_rows;
    for (MaskedTokens& tokens : tokenized) add_tokens(std::move(tokens), chunk);
  }

  void add_tokens(MaskedTokens tokens, Chunk& chunk) const {
    if (tokens.ids.empty()) return;
    if (!chunk.has_end_of_turn) chunk.has_end_of_turn = trains_end_of_turn(tokens, tokenizer_);
    const auto limit = static_cast<size_t>(options_.max_length);
    if (tokens.ids.size() > limit) {
      ++chunk.totals.num_truncated_rows;
      chunk.totals.num_truncated_tokens += static_cast<int64_t>(tokens.ids.size() - limit);
      tokens.ids.resize(limit);
      tokens.trained.resize(limit);
    }
    const auto num_labels = std::count(tokens.trained.begin() + 1, tokens.trained.end(), 1);
    ++chunk.totals.num_rows;
    chunk.totals.num_tokens += static_cast<int64_t>(tokens.ids.size());
    chunk.totals.num_trained_tokens += num_labels;
    if (num_labels == 0) ++chunk.totals.num_untrained_rows;
    chunk.rows.push_back(std::move(tokens));
  }

  const std::vector<SourceRow> rows_;
  const DatasetOptions& options_;
  const Tokenizer& tokenizer_;
  const bool use_chat_template_;
  std::atomic<size_t> next_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Chunk>> chunks_;
  size_t consumed_ = 0;
  bool stopped_ = false;
};

void add(DatasetTotals& sum, const DatasetTotals& part) {
  sum.num_rows += part.num_rows;
  sum.num_bad_rows += part.num_bad_rows;
  sum.num_tokens += part.num_tokens;
  sum.num_trained_tokens += part.num_trained_tokens;
  sum.num_truncated_rows += part.num_truncated_rows;
  sum.num_truncated_tokens += part.num_truncated_tokens;
  sum.num_untrained_rows += part.num_untrained_rows;
  sum.num_split_rows += part.num_split_rows;
}

void check_dataset(const DatasetTotals& totals, bool has_end_of_turn,
                   const std::string& first_bad_row, const std::string& where) {
  if (totals.num_rows == 0) {
    core::fail(
        ErrorKind::kBadInput,
        {.what = "the dataset has no rows",
         .where = where,
         .hint = first_bad_row.empty() ? "" : "all were skipped; the first: " + first_bad_row});
  }
  if (totals.num_trained_tokens == 0) {
    core::fail(ErrorKind::kBadInput,
               {.what = "no token of the dataset is trained: every label is masked",
                .where = where,
                .hint = "see `hone data show`: are there assistant turns, and do they lie within "
                        "max_length?"});
  }
  if (!has_end_of_turn) {
    core::fail(
        ErrorKind::kBadInput,
        {.what =
             "no end-of-turn token among the trained tokens: the model would never learn to stop",
         .where = where,
         .hint = "the chat template must write the end-of-turn token inside the assistant's turn, "
                 "or the "
                 "tokenizer needs an eos_token"});
  }
}

void report(const DatasetTotals& totals, const std::string& first_bad_row) {
  if (totals.num_bad_rows > 0)
    spdlog::warn("{} bad rows skipped; the first: {}", totals.num_bad_rows, first_bad_row);
  if (totals.num_split_rows > 0) {
    spdlog::warn(
        "the chat template rewrites earlier turns: {} conversations are trained turn by turn",
        totals.num_split_rows);
  }
}

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
      for (const RowSlice& slice : file.rows()) rows.push_back({&sources[s], &file, slice});
      if (sources[s].max_rows > 0 && (left -= static_cast<int64_t>(file.rows().size())) <= 0) break;
    }
  }
  TokenCacheWriter writer(cache_folder, key);
  DatasetTotals totals;
  bool has_end_of_turn = false;
  std::string first_bad_row;
  CacheBuilder builder(std::move(rows), options, tokenizer);
  builder.run([&](const Chunk& chunk, double fraction) {
    for (const MaskedTokens& row : chunk.rows) writer.append(row);
    add(totals, chunk.totals);
    has_end_of_turn = has_end_of_turn || chunk.has_end_of_turn;
    if (first_bad_row.empty()) first_bad_row = chunk.first_bad_row;
    if (progress) progress(fraction);
  });
  check_dataset(totals, has_end_of_turn, first_bad_row,
                sources.empty() ? "" : sources[0].path.string());
  report(totals, first_bad_row);
  writer.finish(totals);
}

}  // namespace hone::data
