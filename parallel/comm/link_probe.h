// How fast ranks reach each other and how far their clocks are apart.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/comm/communicator.h"

namespace hone::parallel {

// Collective; buffers in host memory. By rank: seconds that its clock is ahead of rank 0's, to
// within half of the shortest of a few round trips. On rank 0; empty on the others.
std::vector<double> clock_offsets(Communicator& comm);

// Collective. Bytes a second that this rank sends in an all-reduce of float32 (bytes_sent of
// timed.h), tried on a few bytes first: the large try is left out where it would take long.
// `buffer` has `bytes` bytes of memory that `comm` moves; its contents are lost. More than one
// rank.
double all_reduce_rate(Communicator& comm, void* buffer, int64_t bytes);

}  // namespace hone::parallel
