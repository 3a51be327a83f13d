// The processor cores of ranks that share machines.
#pragma once

#include "parallel/comm/communicator.h"

namespace hone::recipes {

// Collective. Where OMP_NUM_THREADS does not say how many threads a rank has, it gets its share of
// the cores it may run on. Rank 0 logs who runs where. Of one rank nothing is changed.
void settle_threads(parallel::Communicator& world);

}  // namespace hone::recipes
