// What a rank has of a model, and with whom it computes.
#pragma once

#include <cstdint>
#include <memory>

#include "parallel/comm/communicator.h"
#include "parallel/pipeline.h"
#include "parallel/shards.h"
#include "parallel/tensor_slice.h"

namespace hone::models {

// What a rank has of a model. Of every stage that it holds, in the slices that it has: part `index`
// of `count` of `level`, as in parallel/shards.h.
struct Sharding {
  int64_t index = 0, count = 1;
  int64_t level = parallel::kShardParameters;
  int64_t replica = 0, num_replicas = 1;  // ranks that keep the same share writing it to files
  parallel::Slicer slicer = {};           // of the tensor axis
  parallel::Pipeline pipeline = {};       // without stages: all on this rank
  int64_t pipeline_rank = 0;
  bool shards(int64_t at_level) const { return count > 1 && level >= at_level; }
  bool computes(int64_t stage) const {
    return pipeline.num_stages == 0 || pipeline.rank_of(stage) == pipeline_rank;
  }
};

// Ranks that compute a micro-batch together, by axis; not given: this one alone.
struct ComputeGroups {
  std::shared_ptr<parallel::Communicator> tensor, context, pipeline;
  // In how many parts the rows of a product that is split over the tensor axis are multiplied, with
  // those of other parts on their way meanwhile; 1: all at once. The same on all ranks.
  int64_t row_chunks = 1;
};

}  // namespace hone::models
