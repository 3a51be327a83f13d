// All that is known of a job before it runs.
#pragma once

#include <string>
#include <vector>

#include "recipes/plan/memory.h"
#include "recipes/plan/plan_input.h"
#include "recipes/plan/shard_table.h"
#include "recipes/plan/step_lists.h"
#include "recipes/plan/step_time.h"

namespace hone::recipes {

struct Plan {
  ShardTable table;
  StepLists lists;
  MemoryPlan memory;
  TimePlan time;
  double needed_bytes = 0;  // of the largest rank, with what the hardware reserves
  bool fits = true;         // in the hardware's memory
};

// Chunks of stages of about equal cost, all on one rank where pp is 1.
parallel::Pipeline plan_pipeline(const PlanInput& input);

// The layout must divide the model (models::shard_plan_problems). Throws as make_shard_table.
Plan make_plan(const PlanInput& input);

// The same without the proof that ranks get to the end of a step together.
Plan estimate(const PlanInput& input);

// A change of the recipe that leaves what is learned as it is, and what it would bring.
struct Change {
  std::string what;    // "gradient_checkpointing: true"
  double bytes = 0;    // of the largest rank, saved
  double seconds = 0;  // of a step, saved
  bool fits = true;
};

// Those that save most, best first, at most `count`: memory where the plan does not fit, else time.
std::vector<Change> best_changes(const PlanInput& input, const Plan& plan, size_t count);

// A layout with what else is to be set for it.
struct Candidate {
  PlanInput input;
  double needed_bytes = 0, seconds = 0, tokens_per_second = 0;
};

// All layouts of as many ranks, with gradient_checkpointing or without, that compute the same step
// and fit, the fastest first. `num_tried`: how many there were.
struct SearchResult {
  std::vector<Candidate> fitting;
  int64_t num_tried = 0;
};
SearchResult search_layouts(const PlanInput& input);

}  // namespace hone::recipes
