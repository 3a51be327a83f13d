// The loss of a run split by the dataset it comes from.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/micro_batch.h"

namespace hone::trainer {

struct SourceLoss {
  double loss_sum = 0;  // negative log likelihood over the source's trained tokens
  int64_t num_trained_tokens = 0;
  bool operator==(const SourceLoss&) const = default;
};

// One a dataset, in the order of the recipe; empty where there is only one, whose loss is the
// total.
using SourceLosses = std::vector<SourceLoss>;

// `losses` are those of the micro-batch's trained tokens, in order (kernels::HeadLoss). Nothing
// happens if `sums` is empty.
void add_losses(const data::MicroBatch& micro_batch, std::span<const double> losses,
                SourceLosses& sums);
// Adds source by source; `sums` may be empty.
void add_losses(const SourceLosses& more, SourceLosses& sums);

// {"chat": {"loss": mean over its trained tokens, "trained_tokens": n}, ...}; a dataset that had no
// trained token is left out. `names` has a name for each. null for one dataset.
core::Json losses_json(const SourceLosses& losses, const std::vector<std::string>& names);

}  // namespace hone::trainer
