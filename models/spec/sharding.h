// What a rank has of a model.
#pragma once

#include <cstdint>

#include "parallel/pipeline.h"
#include "parallel/shards.h"
#include "parallel/tensor_slice.h"

namespace hone::models {

// Of every stage that it holds, in the slices that it has: part `index` of `count` of `level`, as
// in parallel/shards.h.
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

}  // namespace hone::models
