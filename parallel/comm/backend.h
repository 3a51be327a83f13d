// What a backend gives a Communicator: one way to start an operation, described as a value, and few
// things beside. A blocking call is a start and a wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "parallel/comm/dtype.h"

namespace hone::parallel {

enum class OpKind {
  kAllReduce,      // count
  kReduceScatter,  // counts: elements of each rank's part
  kAllGather,      // counts
  kAllToAll,       // count: elements for each rank
  kBroadcast,      // count, peer (the root); input is unused
  kBarrier,
  kSend,  // count, peer, tag
  kRecv,  // count, peer, tag
};

// Checked by Communicator: counts are not negative, `counts` has one entry per rank, ranges overlap
// only as communicator.h allows, a peer of kSend and kRecv is another rank.
struct Operation {
  OpKind kind = OpKind::kBarrier;
  DType dtype = DType::kUInt8;
  ReduceOp reduce = ReduceOp::kSum;
  bool ordered = false;  // must follow the tree of combine.h, at whatever cost
  const std::byte* input = nullptr;
  std::byte* output = nullptr;
  int64_t count = 0;
  std::vector<int64_t> counts;
  int peer = -1;
  int tag = 0;
};

bool is_collective(OpKind kind);         // not kSend, kRecv
std::string describe(const Operation&);  // "all_reduce sum of 12 float32"
int64_t total(const std::vector<int64_t>& counts);
bool all_equal(const std::vector<int64_t>& counts);
// Bytes before part `rank` of a buffer made of parts of `counts` elements.
int64_t part_offset(const Operation& operation, int rank);

// A started operation.
class Pending {
 public:
  Pending() = default;
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  virtual ~Pending() = default;
  // Makes what progress is possible without waiting; true once done, then for ever. Throws what
  // made the operation impossible.
  virtual bool test() = 0;
  // Returns when the output may be used: by the host, or on a device by what is launched on its
  // compute stream afterwards (nccl.h).
  virtual void wait() = 0;
  // The owner gives up while an exception is on its way: buffers must not be used after this, and
  // the other ranks should learn of it where that is possible.
  virtual void abandon() noexcept = 0;
};

class Backend : public std::enable_shared_from_this<Backend> {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string name() const = 0;
  virtual std::shared_ptr<Pending> start(const Operation& operation) = 0;
  virtual void poll() {}
  // Returns when what was started here is done for the host too; at once where wait() says so.
  virtual void synchronize() {}
  // The same ranks for buffers in host memory: another backend where buffers are device memory.
  virtual std::shared_ptr<Backend> host() { return shared_from_this(); }
  virtual std::shared_ptr<Backend> split(int color, int key) = 0;
  // Ends the run where it can. Communicator throws an error of this code when it comes back.
  virtual void abort(int exit_code, const std::string& message) = 0;
  virtual void finish() = 0;
};

// Size 1.
std::shared_ptr<Backend> make_solo();

// Large messages go in pieces, reductions in slices.
struct MpiSizes {
  int64_t piece_bytes = int64_t{1} << 30;    // the most one MPI call moves; counts of MPI are int
  int64_t slice_bytes = int64_t{512} << 10;  // what a rank reduces at a time
  int64_t slices = 8;                        // slices under way at a time
};
// MPI_COMM_WORLD; initialises MPI where that is not done. Collective. Throws kBadRecipe where this
// build has no MPI.
std::shared_ptr<Backend> make_mpi(const MpiSizes& sizes = {});
bool mpi_built_in();
// Whether the MPI library takes GPU memory, as it says itself at run time.
bool mpi_takes_cuda_memory();

// Every rank's (color, key); and from them the members of the caller's group as ranks of this one,
// in order of (key, rank).
std::vector<int> split_members(Backend& backend, int color, int key);

}  // namespace hone::parallel
