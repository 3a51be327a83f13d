#include "data/built_row.h"

#include <algorithm>

#include "data/row_format.h"

namespace hone::data {
namespace {

void add_tokens(MaskedTokens tokens, const DatasetOptions& options, const Tokenizer& tokenizer,
                BuiltRow& built) {
  if (tokens.ids.empty()) return;
  if (!built.has_end_of_turn) built.has_end_of_turn = trains_end_of_turn(tokens, tokenizer);
  const auto limit = static_cast<size_t>(options.max_length);
  DatasetTotals& totals = built.totals;
  if (tokens.ids.size() > limit) {
    ++totals.num_truncated_rows;
    totals.num_truncated_tokens += static_cast<int64_t>(tokens.ids.size() - limit);
    tokens.ids.resize(limit);
    tokens.trained.resize(limit);
  }
  const auto num_labels = std::count(tokens.trained.begin() + 1, tokens.trained.end(), 1);
  ++totals.num_rows;
  totals.num_tokens += static_cast<int64_t>(tokens.ids.size());
  totals.num_trained_tokens += num_labels;
  if (num_labels == 0) ++totals.num_untrained_rows;
  built.rows.push_back(std::move(tokens));
}

}  // namespace

BuiltRow build_row(std::string_view text, const DatasetSource& source,
                   const DatasetOptions& options, const Tokenizer& tokenizer) {
  const Row row = parse_row(text, source, options, tokenizer.has_chat_template());
  BuiltRow built;
  if (options.deduplicate) built.hash = hash_of(row);
  std::vector<MaskedTokens> tokenized = tokenize_row(row, options, tokenizer);
  if (tokenized.size() > 1) ++built.totals.num_split_rows;
  for (MaskedTokens& tokens : tokenized) add_tokens(std::move(tokens), options, tokenizer, built);
  return built;
}

}  // namespace hone::data
