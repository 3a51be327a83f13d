// Ranks talking to each other: one small value over solo, threads, mpi, tcp and nccl.
//
// Buffers are host memory, over nccl device memory (nccl.h says when the host may read it and what
// else is different). `count` is in elements of `dtype`. A collective is called by every rank
// of the group, in the same order and with the same arguments (operation, dtype, counts, root),
// buffers and their contents aside; checked.h finds those that do not. Ranges of one call may
// overlap only as said there ("in place"). Pointers may be null where there are no elements.
//
// A communicator and all split from it belong to one thread at a time.
//
// Errors: kInternal for arguments that can't be right (found before anything is sent) and for
// messages of another size than expected; kPeerLost when another rank is gone or failed; the code
// given to abort() where the backend passes it on by exception (solo, threads).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "parallel/comm/backend.h"
#include "parallel/comm/dtype.h"

namespace hone::parallel {

// An operation under way. Its buffers must stay, inputs unchanged and outputs unread, until it is
// done. Dropped before that, it waits, unless an exception is on its way: then the operation is
// given up and the communicator is of no more use.
class [[nodiscard]] Request {
 public:
  Request() = default;  // done
  explicit Request(std::shared_ptr<Pending> pending) : pending_(std::move(pending)) {}
  Request(Request&& other) noexcept = default;
  Request& operator=(Request&& other) noexcept;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;
  ~Request();

  // True once done. Makes progress, never blocks. Throws as the operation would have.
  bool test();
  void wait();

 private:
  std::shared_ptr<Pending> pending_;  // null once done
};

class Communicator {
 public:
  explicit Communicator(std::shared_ptr<Backend> backend);

  int rank() const { return backend_->rank(); }
  int size() const { return backend_->size(); }
  std::string backend_name() const { return backend_->name(); }  // "solo", "mpi", "tcp", "nccl"

  // Collective. output[i] = op over ranks of input[i]. In place: output == input. Every backend but
  // a GPU's reduces in the order of combine.h; the _ordered variant does so on all, so its result
  // has the same bits on every backend.
  void all_reduce(const void* input, void* output, int64_t count, DType dtype,
                  ReduceOp op = ReduceOp::kSum);
  void all_reduce_ordered(const void* input, void* output, int64_t count, DType dtype,
                          ReduceOp op = ReduceOp::kSum);

  // Collective. Input: the parts of all ranks one after the other (size() x count, or counts[r] for
  // rank r); output: this rank's part, reduced over ranks. In place: output == its place in input.
  void reduce_scatter(const void* input, void* output, int64_t count, DType dtype,
                      ReduceOp op = ReduceOp::kSum);
  void reduce_scatter(const void* input, void* output, const std::vector<int64_t>& counts,
                      DType dtype, ReduceOp op = ReduceOp::kSum);
  void reduce_scatter_ordered(const void* input, void* output, const std::vector<int64_t>& counts,
                              DType dtype, ReduceOp op = ReduceOp::kSum);

  // Collective. Input: this rank's part; output: the parts of all ranks one after the other (count
  // each, or counts[r] of rank r). In place: input == its place in output.
  void all_gather(const void* input, void* output, int64_t count, DType dtype);
  void all_gather(const void* input, void* output, const std::vector<int64_t>& counts, DType dtype);

  // Collective. `data` of rank `root` goes to `data` of all.
  void broadcast(void* data, int64_t count, DType dtype, int root);

  // Collective. Part r of the input (count elements each) goes to part rank() of rank r's output.
  // Never in place.
  void all_to_all(const void* input, void* output, int64_t count, DType dtype);

  // To and from another rank, matched in order per pair and tag (0 to 32767); counts must be equal.
  // A send may wait for its recv.
  void send(const void* data, int64_t count, DType dtype, int peer, int tag = 0);
  void recv(void* data, int64_t count, DType dtype, int peer, int tag = 0);

  // Collective. Returns when all ranks have called it.
  void barrier();

  // The same, started: the calls are collective in the order they are started, and any number may
  // be under way, beside blocking ones too.
  Request start_all_reduce(const void* input, void* output, int64_t count, DType dtype,
                           ReduceOp op = ReduceOp::kSum);
  Request start_reduce_scatter(const void* input, void* output, const std::vector<int64_t>& counts,
                               DType dtype, ReduceOp op = ReduceOp::kSum);
  Request start_all_gather(const void* input, void* output, const std::vector<int64_t>& counts,
                           DType dtype);
  Request start_all_to_all(const void* input, void* output, int64_t count, DType dtype);
  Request start_send(const void* data, int64_t count, DType dtype, int peer, int tag = 0);
  Request start_recv(void* data, int64_t count, DType dtype, int peer, int tag = 0);

  // Not collective, never blocks: moves everything under way on this communicator and its relatives
  // as far as it will go. There is no thread behind it, so a step calls this between its kernels to
  // have communication done while it computes. Errors surface in the Request.
  void poll() { backend_->poll(); }

  // Not collective: waits on the host until all that was started on this communicator is done. Only
  // over nccl is there anything left to wait for after a wait().
  void synchronize() { backend_->synchronize(); }

  // Collective. The ranks that give the same color (>= 0) form a group, ranked by (key, rank here).
  Communicator split(int color, int key) const;

  // Not collective: ends all ranks of the run with this exit code and does not return. Under mpi
  // the processes end, after `message` went to stderr; solo and threads throw an error of this
  // code.
  [[noreturn]] void abort(int exit_code, const std::string& message);

  // Collective, the last call of an orderly run, on the communicator made first: all ranks are
  // done, and MPI may be left. A process that ends without it ends the run of the others under
  // mpirun.
  void finish();

  const std::shared_ptr<Backend>& backend() const { return backend_; }  // for wrappers

 private:
  Request start(const Operation& operation);
  void run(const Operation& operation);
  std::vector<int64_t> equal_counts(int64_t count) const;

  std::shared_ptr<Backend> backend_;
};

// `backend` is "auto", "solo", "mpi" or "nccl". auto is mpi when this process was started by mpirun
// or by srun with PMI, else solo. Collective over the run. Throws kBadRecipe for an unknown
// backend, one that this build does not have, and for tasks of srun that can't find each other.
Communicator make_communicator(const std::string& backend = "auto");

}  // namespace hone::parallel
