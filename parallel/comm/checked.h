// Debug mode: finds ranks that call different collectives before they hang.
#pragma once

#include <chrono>

#include "parallel/comm/communicator.h"

namespace hone::parallel {

struct CheckOptions {
  // How long wait() waits for a rank that calls nothing.
  std::chrono::milliseconds timeout = std::chrono::minutes(5);
};

// Collective. The communicator around `inner`: before a collective moves any data its ranks tell
// each other group, number of the call, operation, dtype, counts and root. Where these differ every
// rank throws the same kInternal error, naming the ranks and what each called; so it does for a
// rank that is in a collective of another group. A rank that has called nothing within the timeout
// of a wait(), or that does not answer a message, is a kPeerLost error naming it. Costs a small
// message from each rank to each per collective. Communicators split from it are checked too. After
// such an error the communicator throws it again whatever is called.
Communicator checked(const Communicator& inner, const CheckOptions& options = {});

}  // namespace hone::parallel
