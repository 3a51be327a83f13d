// In which order a rank of the pipeline axis goes through its chunks and micro-batches.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/pipeline.h"

namespace hone::parallel {

// A whole chunk for one micro-batch, forward or backward.
struct PipelineEvent {
  bool is_forward = true;
  int64_t chunk = 0;
  int64_t round = 0;  // which of the micro-batches that go through this pipeline
  bool operator==(const PipelineEvent&) const = default;
};

// Every chunk of the rank forward and backward once a round. With one chunk a rank 1F1B
// (arXiv:2104.04473): at most num_ranks - rank micro-batches are in flight. With several the
// interleaved schedule of the same paper: micro-batches go through the chunks in groups of
// num_ranks, or more (less than twice as many) where that does not divide their number: fewer
// would cost time, more only the memory of what is in flight.
std::vector<PipelineEvent> pipeline_order(const Pipeline& pipeline, int64_t rank,
                                          int64_t num_rounds);

}  // namespace hone::parallel
