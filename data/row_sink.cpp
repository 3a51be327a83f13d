#include "data/row_sink.h"

#include "core/error.h"
#include "core/log.h"

namespace hone::data {
using core::ErrorKind;
namespace {

void warn(const DatasetTotals& totals, const std::string& first_bad_row) {
  if (totals.num_bad_rows > 0)
    spdlog::warn("{} bad rows skipped; the first: {}", totals.num_bad_rows, first_bad_row);
  if (totals.num_split_rows > 0) {
    spdlog::warn(
        "the chat template rewrites earlier turns: {} conversations are trained turn by turn",
        totals.num_split_rows);
  }
}

}  // namespace

RowSink::RowSink(const std::vector<DatasetSource>& sources, const DatasetOptions& options,
                 const std::filesystem::path& cache_folder, const std::string& key)
    : sources_(sources), writer_(cache_folder, key), totals_(sources.size()) {
  if (options.deduplicate) seen_.emplace(cache_folder.parent_path());
}

void RowSink::add(size_t source, const BuiltRow& row) {
  DatasetTotals& totals = totals_[source];
  if (seen_ && row.hash && !seen_->insert(*row.hash)) {
    ++totals.num_duplicate_rows;
    return;
  }
  for (const MaskedTokens& tokens : row.rows) writer_.append(tokens);
  totals.add(row.totals);
  has_end_of_turn_ = has_end_of_turn_ || row.has_end_of_turn;
}

void RowSink::add_bad_row(size_t source, const std::string& message) {
  ++totals_[source].num_bad_rows;
  if (first_bad_row_.empty()) first_bad_row_ = message;
}

DatasetTotals RowSink::totals() const {
  DatasetTotals sum;
  for (const DatasetTotals& source : totals_) sum.add(source);
  return sum;
}

void RowSink::finish() {
  const DatasetTotals sum = totals();
  check(sum);
  warn(sum, first_bad_row_);
  writer_.finish(totals_);
}

void RowSink::check(const DatasetTotals& totals) const {
  const std::string where = sources_.empty() ? "" : sources_[0].path.string();
  if (totals.num_rows == 0) {
    core::fail(
        ErrorKind::kBadInput,
        {.what = "the dataset has no rows",
         .where = where,
         .hint = first_bad_row_.empty() ? "" : "all were skipped; the first: " + first_bad_row_});
  }
  if (totals.num_trained_tokens == 0) {
    core::fail(ErrorKind::kBadInput,
               {.what = "no token of the dataset is trained: every label is masked",
                .where = where,
                .hint = "see `hone data show`: are there assistant turns, and do they lie within "
                        "max_length?"});
  }
  if (!has_end_of_turn_) {
    core::fail(
        ErrorKind::kBadInput,
        {.what =
             "no end-of-turn token among the trained tokens: the model would never learn to stop",
         .where = where,
         .hint = "the chat template must write the end-of-turn token inside the assistant's turn, "
                 "or the tokenizer needs an eos_token"});
  }
}

}  // namespace hone::data
