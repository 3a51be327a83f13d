// What a run is planned to need on this machine, and what it needs.
#pragma once

#include "recipes/plan/plan.h"
#include "recipes/train/prepared.h"

namespace hone::recipes {

struct PlannedRun {
  PlanInput input;  // with the memory that a rank has here, and the rate of products measured here
  Plan plan;
  int64_t program_bytes = 0;  // that this rank held before there was a model
};

// Collective, before the model is loaded. `gemm_rate` as in trainer::measure_gemm_rate. Throws
// kBadRecipe on all ranks where a rank's memory is too small, saying what is needed and what would
// save most; with `ignores_shortage` that is a warning.
PlannedRun plan_run(const Recipe& recipe, const Prepared& prepared, double gemm_rate,
                    bool ignores_shortage, parallel::Communicator& world);

// Collective, after the first step, which took `seconds`: planned and measured memory of the rank
// that needs most and time side by side, in the log of rank 0.
void compare_with_plan(const PlannedRun& planned, at::Device device, double seconds,
                       parallel::Communicator& world);

}  // namespace hone::recipes
