// What communicating over one axis costs: the time spent in its calls and the bytes sent.
#pragma once

#include <cstdint>
#include <memory>

#include "parallel/comm/communicator.h"

namespace hone::parallel {

struct AxisUse {
  double seconds = 0;  // in which the calling thread was starting, asking for or waiting
  int64_t bytes = 0;   // this rank sent, reckoned for a ring (arXiv:1802.05799)
};

// Bytes a rank of n sends: 2 (n-1)/n of the buffer for an all-reduce, (n-1)/n of the whole buffer
// for gathers, scatters and all-to-all, the buffer for a broadcast (a ring passes it on) and a
// send, none for a receive and a barrier.
int64_t bytes_sent(const Operation& operation, int num_ranks);

// Not collective. The communicator around `inner` that adds its use to `use`: a blocking call's
// whole time, a started one's time in start, test, wait and in synchronize(). Communicators split
// from it and the one for host memory are plain.
Communicator timed(const Communicator& inner, std::shared_ptr<AxisUse> use);

}  // namespace hone::parallel
