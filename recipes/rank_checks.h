// What a recipe means on a number of ranks: who holds what, and how a batch is divided.
#pragma once

#include <cstdint>
#include <optional>

#include "parallel/layout.h"
#include "recipes/cross_checks.h"
#include "recipes/recipe.h"

namespace hone::recipes {

struct BatchSizes {
  int64_t micro = 1;         // rows of a micro-batch
  int64_t accumulation = 1;  // micro-batches of a step on a rank
  int64_t global = 1;        // rows of a step on all ranks
};

struct RankPlan {
  parallel::Layout layout;
  ParallelOptions options;
  BatchSizes batch;
};

// dp_replicate_size is, where it is not given, what the other sizes leave over; any two of the
// three batch keys give the third: global = micro x accumulation x data-parallel ranks. nullopt
// when something was reported.
std::optional<RankPlan> plan_ranks(const CheckContext& context, int64_t num_ranks);

}  // namespace hone::recipes
