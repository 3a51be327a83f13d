// The backend over NCCL. Buffers are device memory.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "parallel/comm/backend.h"
#include "parallel/comm/nccl_api.h"

namespace hone::parallel {

struct NcclOptions {
  int device = 0;  // of this process
  // How long the host waits for other ranks: while communicators are made, connections set up, and
  // in barrier, synchronize and finish.
  std::chrono::milliseconds timeout = std::chrono::minutes(10);
  // The stream that computes at the moment; without it the default stream.
  std::function<CudaStream()> compute_stream;
};

// Collective over `host`, a backend of the same ranks for host memory: it carries the unique id,
// splits, barriers and abort, and is ended by finish().
//
// Every communicator has a stream of its own. An operation starts there behind all that is on the
// compute stream at its start, and its wait() puts the compute stream behind it, without the host
// waiting: what is launched afterwards may use the output. The host may read it after
// synchronize(). Only barrier, synchronize, finish and split wait on the host; there, and in
// test(), wait() and poll(), NCCL's asynchronous errors surface. After an error or a timeout (both
// kPeerLost; kInternal for what the caller or CUDA did wrong) all NCCL communicators of the rank
// are aborted, so that no kernel waits for a rank that is gone, and nothing more can be started.
//
// NCCL has no tags: only tag 0 is taken. Messages started one after the other run together, as one
// group, from the first test(), wait(), poll() or other operation on: a send and a recv that need
// each other are both started before that. Messages of no elements are none. The ordered reductions
// need a kernel of ours and are a kBadRecipe error.
// max and min treat a NaN as NCCL does.
std::shared_ptr<Backend> make_nccl(std::shared_ptr<Backend> host, const NcclApi& api,
                                   const NcclOptions& options = {});

}  // namespace hone::parallel
