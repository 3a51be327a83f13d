// The layouts of a number of ranks that `hone check invariance` holds to one rank.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/spec/model_spec.h"
#include "parallel/layout.h"

namespace hone::recipes {

struct LayoutToCheck {
  parallel::Layout layout;
  int64_t level = 0;  // 0: nothing is sharded

  // Whether ranks compute a micro-batch together.
  bool is_split() const { return layout.tp * layout.cp * layout.pp > 1; }
  std::string name() const;  // "dp_replicate 2 x dp_shard 2, level 3"
};

struct LayoutsToCheck {
  std::vector<LayoutToCheck> layouts;
  std::vector<std::string> left_out;  // "tp 3: " and the equation that has no solution
};

// Every axis alone, replicas of shards, and tensor groups in a pipeline; what the model can't be
// divided over is left out.
LayoutsToCheck layouts_to_check(const models::ModelSpec& spec, int64_t num_ranks);

}  // namespace hone::recipes
