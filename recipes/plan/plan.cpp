#include "recipes/plan/plan.h"

#include "models/spec/shard_plan.h"

namespace hone::recipes {
namespace {

void fill(const PlanInput& input, Plan& plan) {
  plan.memory = plan_memory(input, plan.table, plan.lists);
  plan.time = plan_time(input, plan.table, plan.lists);
  plan.needed_bytes =
      static_cast<double>(plan.memory.largest.at_peak.total()) + input.hardware.reserved_bytes;
  plan.fits = plan.needed_bytes <= input.hardware.memory_bytes;
}

}  // namespace

parallel::Pipeline plan_pipeline(const PlanInput& input) {
  if (input.layout.pp == 1) return parallel::whole_pipeline(input.spec.num_layers() + 2);
  return parallel::make_pipeline(models::stage_costs(input.spec, input.row_tokens), input.layout.pp,
                                 input.chunks_per_rank);
}

Plan make_plan(const PlanInput& input) {
  Plan plan{.table = make_shard_table(input)};
  plan.lists = make_step_lists(input, plan.table.stages);
  fill(input, plan);
  return plan;
}

Plan estimate(const PlanInput& input) {
  Plan plan{.table = make_shard_table(input)};
  plan.lists = unproved_step_lists(input, plan.table.stages);
  fill(input, plan);
  return plan;
}

}  // namespace hone::recipes
