// What a rank has of a model, and with whom it computes.
#pragma once

#include <cstdint>
#include <memory>

#include "models/spec/sharding.h"
#include "parallel/comm/communicator.h"

namespace hone::models {

// Ranks that compute a micro-batch together, by axis; not given: this one alone.
struct ComputeGroups {
  std::shared_ptr<parallel::Communicator> tensor, context, pipeline;
  // In how many parts the rows of a product that is split over the tensor axis are multiplied, with
  // those of other parts on their way meanwhile; 1: all at once. The same on all ranks.
  int64_t row_chunks = 1;
  // In how many parts the heads of attention are computed where they are exchanged over the context
  // axis, likewise; at most one for each key/value head that a rank then has.
  int64_t head_chunks = 1;
};

}  // namespace hone::models
