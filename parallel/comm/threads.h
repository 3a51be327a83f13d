// Ranks as threads of one process: what is said of ranks can be tested without a launcher.
#pragma once

#include <functional>

#include "parallel/comm/communicator.h"

namespace hone::parallel {

// Runs `rank_main` once for each of `num_ranks` ranks (at least 1), each on a thread of its own
// with its communicator, and returns when all have returned. Nobody waits for ever: when a rank
// throws, or returns while others still need it, or all wait for each other, those that wait throw
// kPeerLost; what the first rank threw is thrown here. A send waits for its recv.
void run_ranks(int num_ranks, const std::function<void(Communicator&)>& rank_main);

}  // namespace hone::parallel
