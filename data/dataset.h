// From the recipe's `datasets:` to a token cache: rows are read, rendered, tokenized and masked
// once, by all cores, and memory-mapped ever after.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/tokenizer.h"

namespace hone::data {

enum class RowFormat { kMessages, kShareGpt, kAlpaca, kPromptCompletion, kText };
enum class BadRowPolicy { kError, kSkip };
enum class SampleBy { kLine, kParagraph, kDocument };

// One entry of `datasets:` or `eval_datasets:`. `path` is a file, a pattern (`data/*.jsonl`), a
// folder, or the id of a hub's dataset, whose files are fetched before; `config_name` and `split`
// pick files of a folder or hub dataset as the hub does (dataset_files.h).
struct DatasetSource {
  std::filesystem::path path;
  RowFormat format = RowFormat::kMessages;
  std::string split;
  std::string config_name;                                   // "": the default one
  std::string revision;                                      // of a hub's dataset; "": main
  std::vector<std::pair<std::string, std::string>> columns;  // our column name -> the file's
  int64_t max_rows = 0;                                      // 0: all
  SampleBy sample_by = SampleBy::kLine;                      // what a row of a .txt file is
  std::string where;                                         // "recipe.yaml:9" for messages
};

struct DatasetOptions {
  int64_t max_length = 1024;         // longer rows are cut at the end and counted
  bool assistant_only_loss = false;  // messages, sharegpt: train assistant turns only
  bool completion_only_loss = true;  // prompt_completion, alpaca: train the completion only
  std::string system_prompt;         // put before conversations that have no system turn
  BadRowPolicy on_bad_row = BadRowPolicy::kError;
  // With kSkip: how many rows may be bad, a fraction of all if below 1; 0: any number.
  double max_bad_rows = 0;
  bool deduplicate = false;  // of equal rows, whatever source they come from, only the first stays
};

struct DatasetTotals {
  int64_t num_rows = 0;      // kept
  int64_t num_bad_rows = 0;  // skipped by on_bad_row: skip
  int64_t num_tokens = 0;    // kept
  int64_t num_trained_tokens = 0;
  int64_t num_truncated_rows = 0, num_truncated_tokens = 0;
  int64_t num_untrained_rows = 0;  // rows whose labels are all masked; kept out of training
  // Conversations made into one row an assistant turn, because the chat template rewrites history.
  int64_t num_split_rows = 0;
  int64_t num_duplicate_rows = 0;  // left out by `deduplicate`

  void add(const DatasetTotals& other);
};

// One tokenized row of a cache. `trained[i]` is nonzero where token i is a training target.
struct TokenRow {
  std::span<const int32_t> ids;
  std::span<const uint8_t> trained;
};

// Memory-mapped; cheap to copy.
class TokenCache {
 public:
  static TokenCache open(const std::filesystem::path& folder);  // throws kBadInput if it is damaged
  int64_t num_rows() const;
  TokenRow row(int64_t index) const;
  int64_t num_row_tokens(int64_t index) const;  // O(1), touches offsets only
  int64_t num_row_trained(
      int64_t index) const;  // labels the row yields (a row's first token is never a label)
  std::span<const uint64_t> kept_rows() const;  // the rows with a label, in order
  const DatasetTotals& totals() const;
  // Of each source in turn. A source's rows lie together, in the order of the sources.
  const std::vector<DatasetTotals>& source_totals() const;
  int64_t num_sources() const;
  int64_t source_begin(int64_t source) const;  // its first row; num_rows() for num_sources()
  int64_t source_of(int64_t row) const;
  const std::string& key() const;  // SHA-256 of content, tokenizer, template and options

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

// Called with the fraction done, from one thread at a time.
using Progress = std::function<void(double fraction)>;

// Opens the cache of these sources under `cache_root`, building it with all cores if it is not
// there. Throws kBadInput with `path:line` and an excerpt for a bad row (unless skipped), an empty
// dataset, one without trained tokens, BOS twice at the start, or no end-of-turn token among the
// trained ones.
TokenCache prepare_dataset(const std::vector<DatasetSource>& sources, const DatasetOptions& options,
                           const Tokenizer& tokenizer, const std::filesystem::path& cache_root,
                           const Progress& progress = {});

}  // namespace hone::data
