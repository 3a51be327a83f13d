// The bytes that are there on a rank in the course of a step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "recipes/plan/shard_table.h"
#include "recipes/plan/step_lists.h"

namespace hone::recipes {

// What a rank holds at a moment.
struct MemoryParts {
  int64_t parameters = 0, gradients = 0, optimizer = 0;
  int64_t gathered = 0;     // other ranks' parts of parameters, whole gradients before they are
                            // reduced
  int64_t activations = 0;  // kept for the backward, and what the action works with
  int64_t head_chunk = 0;   // of these, the loss: logits a chunk of rows at a time, gradients
  int64_t total() const {
    return parameters + gradients + optimizer + gathered + activations + head_chunk;
  }
};

struct RankMemory {
  int64_t rank = 0;
  MemoryParts most;     // of each part over the step
  MemoryParts at_peak;  // when the sum is largest
  std::string peak;     // the action then
};

struct MemoryPlan {
  RankMemory largest;                  // of the rank that needs most
  std::vector<int64_t> total_by_rank;  // largest sums, without what hardware reserves
};

MemoryPlan plan_memory(const PlanInput& input, const ShardTable& table, const StepLists& lists);

}  // namespace hone::recipes
