// What `hone data show` prints: the rows as the model sees them, and totals.
#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/loader.h"
#include "data/tokenizer.h"

namespace hone::data {

struct ShowOptions {
  int64_t first_row = 0;
  int64_t num_rows = 3;
  bool color = true;  // trained tokens in green; else between the marks [[ and ]]
};

// The chosen rows as text, trained tokens marked.
std::string render_rows(const TokenCache& cache, const Tokenizer& tokenizer,
                        const ShowOptions& options);

// Rows, tokens, trained share, truncation, how well the packs of the first epoch are filled, and
// for several datasets a line each, by `names`.
std::string render_totals(const TokenCache& cache, const LoaderOptions& options,
                          const std::vector<std::string>& names = {});

}  // namespace hone::data
