// A recipe's plan on a cluster.
#pragma once

#include "launch/cluster.h"
#include "recipes/plan/hardware.h"
#include "recipes/recipe.h"

namespace hone::recipes {

// What a rank of the cluster runs on: its `hardware`, else an H100 where it has GPUs, else a part
// of this machine (mpirun) or of `memory` (SLURM); ranks_per_node is the cluster's. Throws as
// find_hardware, with the line of the key.
Hardware hardware_of(const launch::Cluster& cluster);

// Throws kBadRecipe where the recipe does not fit the memory of the cluster's ranks, saying what
// is missing and what would save most. What can't be known here is left to the ranks, which ask
// again: the model where its config.json is not at hand, the memory of nodes without GPUs that the
// cluster file does not give, rows that are not packed, which may be shorter than max_length.
void require_memory(const Recipe& recipe, const launch::Cluster& cluster);

}  // namespace hone::recipes
