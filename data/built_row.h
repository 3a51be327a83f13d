// One row of a data file made ready for the token cache; rows are independent, so any thread may.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "data/row_hash_set.h"
#include "data/row_tokens.h"

namespace hone::data {

struct BuiltRow {
  std::vector<MaskedTokens> rows;  // cut at max_length; several if trained turn by turn
  DatasetTotals totals;
  bool has_end_of_turn = false;  // among the trained tokens, judged before the cut
  std::optional<RowHash> hash;   // of the parsed row, when rows are deduplicated
};

// Parses, renders, tokenizes and cuts. Throws kBadInput (without `where`) for a row that can't be
// used.
BuiltRow build_row(std::string_view text, const DatasetSource& source,
                   const DatasetOptions& options, const Tokenizer& tokenizer);

}  // namespace hone::data
