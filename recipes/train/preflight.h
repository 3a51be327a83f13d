// What is found out before the first step, so that no machine computes for a run that can't end
// well.
#pragma once

#include "models/model.h"
#include "parallel/comm/mesh.h"
#include "recipes/recipe.h"
#include "recipes/train/rank_watch.h"

namespace hone::recipes {

// Collective. Throws kBadRecipe on all ranks where they have other recipes, layouts or programs,
// naming each difference with its ranks.
void compare_programs(parallel::Communicator& world, const Recipe& recipe);

// Collective, takes a fraction of a second; the output folder is there. Throws kIo on all ranks
// where the disk has no room for a checkpoint and the final model. Of several ranks: logs what the
// links of each axis carry, the slowest ranks named, how far clocks are apart, and the disk; warns
// of clocks that differ by more than a second.
void inspect_ranks(WatchedRanks& ranks, parallel::Mesh& mesh, const Recipe& recipe,
                   const models::Model& model, at::Device device);

}  // namespace hone::recipes
