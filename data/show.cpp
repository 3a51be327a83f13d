#include "data/show.h"

#include <algorithm>

#include "core/text.h"

namespace hone::data {
namespace {

constexpr const char* kGreen = "\x1b[32m";
constexpr const char* kDim = "\x1b[2m";
constexpr const char* kPlain = "\x1b[0m";

std::string percent(int64_t part, int64_t whole) {
  if (whole == 0) return "0 %";
  const int64_t tenths = (part * 1000 + whole / 2) / whole;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " %";
}

std::string count(int64_t value) { return core::format_count(static_cast<uint64_t>(value)); }

// Decoders may drop what begins a text (a space), so a run's text is what it adds to the text
// before it.
std::string run_text(const TokenRow& row, size_t begin, size_t end, const std::string& before,
                     std::string& so_far, const Tokenizer& tokenizer) {
  so_far =
      tokenizer.decode({row.ids.begin(), row.ids.begin() + static_cast<ptrdiff_t>(end)}, false);
  if (so_far.starts_with(before)) return so_far.substr(before.size());
  return tokenizer.decode({row.ids.begin() + static_cast<ptrdiff_t>(begin),
                           row.ids.begin() + static_cast<ptrdiff_t>(end)},
                          false);
}

// "dataset chat: 1,000 rows, 52,000 tokens, 40,000 trained; an epoch draws 500 (0.50 x its rows)".
std::string render_sources(const TokenCache& cache, const Loader& loader,
                           const std::vector<std::string>& names) {
  std::string result;
  for (size_t s = 0; s < names.size(); ++s) {
    const DatasetTotals& t = cache.source_totals()[s];
    const auto source = static_cast<int64_t>(s);
    const int64_t draws = loader.num_draws(source), rows = loader.num_source_rows(source);
    result += "dataset " + names[s] + ": " + count(t.num_rows) + " rows, " + count(t.num_tokens) +
              " tokens, " + count(t.num_trained_tokens) + " trained; an epoch draws " +
              count(draws);
    if (draws != rows) result += " (" + percent(draws, rows) + " of its rows)";
    result += "\n";
  }
  return result;
}

std::string render_row(const TokenRow& row, const Tokenizer& tokenizer, bool color) {
  std::string result, before;
  size_t begin = 0;
  while (begin < row.ids.size()) {
    const bool trained = row.trained[begin] != 0;
    size_t end = begin;
    while (end < row.ids.size() && (row.trained[end] != 0) == trained) ++end;
    std::string so_far;
    const std::string text = run_text(row, begin, end, before, so_far, tokenizer);
    if (!trained) {
      result += color ? kDim + text + kPlain : text;
    } else {
      result += color ? kGreen + text + kPlain : "[[" + text + "]]";
    }
    before = std::move(so_far);
    begin = end;
  }
  return result;
}

}  // namespace

std::string render_rows(const TokenCache& cache, const Tokenizer& tokenizer,
                        const ShowOptions& options) {
  std::string result;
  const int64_t end = std::min(cache.num_rows(), options.first_row + options.num_rows);
  for (int64_t i = options.first_row; i < end; ++i) {
    result += "--- row " + std::to_string(i) + ": " + count(cache.num_row_tokens(i)) + " tokens, " +
              count(cache.num_row_trained(i)) + " trained\n";
    result += render_row(cache.row(i), tokenizer, options.color) + "\n";
  }
  return result;
}

std::string render_totals(const TokenCache& cache, const LoaderOptions& options,
                          const std::vector<std::string>& names) {
  const DatasetTotals& t = cache.totals();
  std::string result = "rows       " + count(t.num_rows) + "\n";
  if (t.num_bad_rows > 0) result += "skipped    " + count(t.num_bad_rows) + " bad rows\n";
  if (t.num_duplicate_rows > 0)
    result += "duplicates " + count(t.num_duplicate_rows) + " rows, left out\n";
  if (t.num_split_rows > 0)
    result += "split      " + count(t.num_split_rows) + " conversations, one row a turn\n";
  if (t.num_untrained_rows > 0)
    result += "untrained  " + count(t.num_untrained_rows) + " rows, left out\n";
  result += "tokens     " + count(t.num_tokens) + "\n";
  result += "trained    " + count(t.num_trained_tokens) + " (" +
            percent(t.num_trained_tokens, t.num_tokens) + ")\n";
  result += "truncated  " + count(t.num_truncated_rows) + " rows, " +
            count(t.num_truncated_tokens) + " tokens lost\n";
  const Loader loader(cache, options);
  const int64_t positions = loader.num_positions(0);
  // What a mix by weights draws differs from epoch to epoch: its packs say nothing of the rows.
  if (options.packing && options.weights.empty()) {
    int64_t fed = 0;
    for (const uint64_t row : cache.kept_rows())
      fed += cache.num_row_tokens(static_cast<int64_t>(row));
    result += "packs      " + count(positions) + " of " + count(options.max_length) + " tokens, " +
              percent(fed, positions * options.max_length) + " filled\n";
  }
  result += "steps      " + count(loader.num_steps_per_epoch(0)) + " an epoch\n";
  if (names.size() > 1) result += render_sources(cache, loader, names);
  return result;
}

}  // namespace hone::data
