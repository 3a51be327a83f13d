// Which rows of the evaluation data also stand in the training data.
#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace hone::data {

constexpr int64_t kContaminationTokens = 13;

struct Contamination {
  int64_t num_eval_rows = 0;
  int64_t num_identical = 0;    // all tokens equal a training row's
  int64_t num_overlapping = 0;  // not identical, but at least half of the trained tokens are copies
  std::vector<int64_t> rows;    // rows of the evaluation cache that are either, in order
};

// A trained token of an evaluation row is a copy when a run of 13 trained tokens that holds it also
// occurs, in this order, among the tokens of a training row. The run of 13 is that of Brown et al.,
// "Language Models are Few-Shot Learners" (2020), appendix C; judging a row by the share of its
// tokens that are covered, half, is Lambert et al., "Tulu 3" (2024). Only trained tokens
// count, so a system prompt or a template's headers in both are no overlap. Memory grows with the
// evaluation data alone; the training data is read once, by all cores.
Contamination find_contamination(const TokenCache& train, const TokenCache& eval);

}  // namespace hone::data
