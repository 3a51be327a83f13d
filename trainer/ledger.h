// ledger.jsonl: which rows of the data every micro-batch of every step was made of, and which rank
// computed it, as the ranks themselves say: what shows that none is repeated or skipped when a run
// goes on with another layout.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/micro_batch.h"
#include "parallel/comm/mesh.h"

namespace hone::trainer {

// {"step": 3, "micro_batches": [{"rank": 0, "samples": [17, 4]}, ...]} with a newline,
// micro-batches in the order of the step; `step` counts from 1. Collective over the mesh; `own` are
// those of this rank in order (parallel::micro_batches_of).
std::string ledger_row(parallel::Mesh& mesh, int64_t step, int64_t num_micro_batches,
                       std::span<const data::MicroBatch> own);

}  // namespace hone::trainer
