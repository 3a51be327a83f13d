// Work, traffic and time of a step, from the same lists that are run and numbers of the hardware.
#pragma once

#include <cstdint>
#include <vector>

#include "recipes/plan/shard_table.h"
#include "recipes/plan/step_lists.h"

namespace hone::recipes {

// Of a stage for one micro-batch on one rank, in floating-point operations. As trainer/flops.h
// counts: products only, an attention's backward twice its forward, every token trained.
struct StageFlops {
  double forward = 0, backward = 0;
  double scores = 0;  // of forward: attention's
};
std::vector<StageFlops> stage_flops(const PlanInput& input, const ShardTable& table);

// One axis of the layout: what the rank that sends most sends in a step, and how long that takes.
struct AxisTraffic {
  const char* name = "";  // "dp_shard"
  int64_t size = 1;
  bool crosses_nodes = false;
  double bandwidth = 0;  // bytes a second that a rank sends
  double bytes = 0;
  double seconds = 0;  // on the wire
  double exposed = 0;  // of these, while the rank does nothing else
};

struct TimePlan {
  double step_flops = 0;       // of all ranks, recomputing left out
  double recompute_flops = 0;  // of all ranks
  double seconds = 0;          // of a step
  double compute_seconds = 0;  // of the rank that computes most
  double update_seconds = 0;
  double bubble = 0;              // share of a step that ranks wait for their pipeline
  std::vector<AxisTraffic> axes;  // tensor, context, dp_shard, dp_replicate, pipeline: of size > 1
  double tokens_per_second(const PlanInput& input) const {
    return static_cast<double>(input.step_tokens()) / seconds;
  }
};

TimePlan plan_time(const PlanInput& input, const ShardTable& table, const StepLists& lists);

}  // namespace hone::recipes
