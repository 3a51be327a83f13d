// What every rank of a layout has of every stage of a model.
#pragma once

#include <cstdint>
#include <vector>

#include "models/spec/parameter_plan.h"
#include "parallel/schedule.h"
#include "recipes/plan/plan_input.h"

namespace hone::recipes {

// Elements of one stage in the slices of one rank of the tensor axis.
struct StageShare {
  int64_t trainable = 0, frozen = 0;
  int64_t mapped =
      0;  // frozen ones that stay where their file is mapped: never sharded or gathered
  int64_t trained_matrix = 0, frozen_matrix = 0;  // of tensors with two dims: what is multiplied by
};

struct ShardTable {
  std::vector<std::vector<StageShare>> shares;  // by rank of the tensor axis, then stage
  // With the bytes of a micro-batch's activations on the rank of the tensor axis that has most.
  std::vector<parallel::StageDescriptor> stages;
  int64_t batch_bytes = 0;                        // of a micro-batch itself
  int64_t num_parameters = 0, num_trainable = 0;  // of whole tensors, a tied head once
  bool has_tied_head = false;

  const StageShare& of(int64_t tensor_rank, size_t stage) const {
    return shares[static_cast<size_t>(tensor_rank)][stage];
  }
};

// Throws as models::plan_parameters and models::slice_of.
ShardTable make_shard_table(const PlanInput& input);

// Bytes that a rank keeps between steps.
struct KeptBytes {
  int64_t parameters = 0, gradients = 0, optimizer = 0;
  int64_t total() const { return parameters + gradients + optimizer; }
};
// Of every rank, by its number. As models/stage_buffers.cpp allocates.
std::vector<KeptBytes> kept_bytes(const PlanInput& input, const ShardTable& table);

}  // namespace hone::recipes
