// The same documents in other micro-batches: what a step computes must not depend on it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/micro_batch.h"

namespace hone::trainer {

// All documents laid end to end, in order.
data::MicroBatch merge_micro_batches(std::span<const data::MicroBatch> micro_batches);

// Each document by itself, in order.
std::vector<data::MicroBatch> split_documents(std::span<const data::MicroBatch> micro_batches);

// A micro-batch of one document, made `length` tokens long (if it is shorter) by tokens `pad_id`
// after its end that are not trained: what a padded batch computes for its row.
data::MicroBatch pad_document(const data::MicroBatch& document, int64_t length, int32_t pad_id);

}  // namespace hone::trainer
