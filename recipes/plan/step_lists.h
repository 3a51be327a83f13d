// The step of every rank of a plan, and the proof that they get to its end together.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/schedule.h"
#include "recipes/plan/plan_input.h"

namespace hone::recipes {

// Lists depend on where a rank stands on the pipeline axis and on its number among the
// data-parallel ranks, by which the micro-batches are dealt out: ranks of the tensor and context
// axes have the list of their neighbours, and data-parallel ranks the same list with other numbers
// of micro-batches.
struct StepLists {
  std::vector<std::vector<parallel::Action>> by_place;  // of data-parallel rank 0
  int64_t num_collectives = 0, num_messages = 0;        // of a step, over all places of `by_place`
  int64_t num_proved = 0;                               // ranks whose lists were made and compared
  std::vector<std::string> problems;  // empty: every collective and message has its counterparts
};

// Makes the lists of all data-parallel ranks and places, compares the collectives of each place
// over all data-parallel ranks, and runs the lists of whole pipelines against each other without
// computing. Pipelines that differ in nothing but
// numbers are run once.
StepLists make_step_lists(const PlanInput& input,
                          const std::vector<parallel::StageDescriptor>& stages);

// Those of data-parallel rank 0 alone, compared with nothing: for what only asks how much and how
// long.
StepLists unproved_step_lists(const PlanInput& input,
                              const std::vector<parallel::StageDescriptor>& stages);

parallel::StepOptions step_options(const PlanInput& input);

}  // namespace hone::recipes
