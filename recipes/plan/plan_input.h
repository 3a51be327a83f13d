// What a plan is made from: a job as plain values, without weights or data.
#pragma once

#include <cstdint>

#include "models/spec/adapter.h"
#include "models/spec/model_spec.h"
#include "parallel/layout.h"
#include "parallel/pipeline.h"
#include "recipes/plan/hardware.h"

namespace hone::recipes {

struct PlanInput {
  models::ModelSpec spec;
  models::AdapterOptions adapter;  // r == 0: everything trains
  parallel::Layout layout;
  parallel::Pipeline pipeline;  // of all stages; one chunk where pp is 1
  int64_t shard_level = 3;      // as in parallel/shards.h
  int64_t chunks_per_rank = 1;
  bool strict = false;
  bool recompute = false;
  bool is_bfloat16 = true;
  int64_t micro_batch_size = 1;  // rows of a micro-batch
  int64_t row_tokens = 0;        // the most that a row has; rows are taken to be full
  int64_t accumulation = 1;      // micro-batches of a step on a rank
  Hardware hardware;

  int64_t micro_batch_tokens() const { return micro_batch_size * row_tokens; }
  int64_t num_micro_batches() const { return accumulation * layout.data_parallel_size(); }
  int64_t step_tokens() const { return num_micro_batches() * micro_batch_tokens(); }
  int64_t element_bytes() const { return is_bfloat16 ? 2 : 4; }
};

}  // namespace hone::recipes
