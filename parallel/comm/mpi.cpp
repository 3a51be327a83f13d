// The backend over MPI (written for Open MPI 4.1; nothing but MPI-3). Data moves by MPI's
// non-blocking point-to-point calls on bytes; reductions are ours: every rank collects its slice of
// all ranks' inputs, combines them in the fixed order of combine.h (in float32 for 2-byte types,
// which MPI can't sum), and all_reduce sends the result to all. That moves as many bytes as a ring.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "core/error.h"
#include "parallel/comm/combine.h"
#include "parallel/comm/mpi_engine.h"
#include "parallel/comm/mpi_reduce.h"
#if __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif

namespace hone::parallel {
namespace {

using core::ErrorKind;
using core::fail;

class MpiBackend : public Backend {
 public:
  // Takes over both communicators.
  MpiBackend(std::shared_ptr<MpiEngine> engine, const MpiSizes& sizes, MPI_Comm collectives,
             MPI_Comm messages)
      : engine_(std::move(engine)), sizes_(sizes), collectives_(collectives), messages_(messages) {
    check_mpi(MPI_Comm_rank(collectives_, &rank_), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(collectives_, &size_), "MPI_Comm_size");
    int found = 0;
    void* value = nullptr;
    check_mpi(MPI_Comm_get_attr(collectives_, MPI_TAG_UB, static_cast<void*>(&value), &found),
              "MPI_TAG_UB");
    if (found != 0) num_tags_ = int64_t{*static_cast<int*>(value)} + 1;
  }
  // The communicators are not freed: that is collective, and this is no place to wait. A run makes
  // a handful.

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string name() const override { return "mpi"; }

  std::shared_ptr<Pending> start(const Operation& operation) override {
    if (engine_->finished || engine_->given_up) {
      fail(engine_->finished ? ErrorKind::kInternal : ErrorKind::kPeerLost,
           {.what =
                engine_->finished ? "MPI has been left already" : "this rank gave up a collective",
            .where = describe(operation)});
    }
    auto pending = std::make_shared<MpiPending>(engine_, describe(operation));
    pending->is_message = !is_collective(operation.kind);
    post(operation, *pending);
    engine_->add(pending);
    pending->test();
    return pending;
  }

  void poll() override { engine_->advance_all(); }

  std::shared_ptr<Backend> split(int color, int key) override {
    MPI_Comm collectives = MPI_COMM_NULL, messages = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split(collectives_, color, key, &collectives), "split");
    check_mpi(MPI_Comm_dup(collectives, &messages), "split");
    return std::make_shared<MpiBackend>(engine_, sizes_, collectives, messages);
  }

  void abort(int exit_code, const std::string& message) override {
    std::fprintf(stderr, "%s\n", message.c_str());
    std::fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, exit_code);
  }

  void finish() override {
    start({.kind = OpKind::kBarrier})->wait();
    engine_->finished = true;
    check_mpi(MPI_Finalize(), "MPI_Finalize");
  }

 private:
  void post(const Operation& operation, MpiPending& pending);
  void post_gather(const Operation& operation, Lane& lane);
  void post_all_to_all(const Operation& operation, Lane& lane);
  void post_broadcast(const Operation& operation, Lane& lane);

  // A range of bytes to or from a peer, in pieces. Ranges of no bytes are no message.
  void send(Lane& lane, MPI_Comm comm, const std::byte* data, int64_t bytes, int peer,
            int tag) const;
  void recv(Lane& lane, MPI_Comm comm, std::byte* data, int64_t bytes, int peer, int tag) const;

  // The first of `n` tags that belong to one collective: all ranks count alike.
  int64_t take_tags(int64_t n) { return std::exchange(next_tag_, next_tag_ + n); }
  int tag(int64_t number) const { return static_cast<int>(number % num_tags_); }

  std::shared_ptr<MpiEngine> engine_;
  MpiSizes sizes_;
  MPI_Comm collectives_, messages_;
  int rank_ = 0, size_ = 0;
  int64_t num_tags_ = 32768, next_tag_ = 0;
};

int64_t element(const Operation& operation) {
  return static_cast<int64_t>(dtype_size(operation.dtype));
}

void copy(const std::byte* from, std::byte* to, int64_t bytes) {
  if (from != to && bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

void MpiBackend::send(Lane& lane, MPI_Comm comm, const std::byte* data, int64_t bytes, int peer,
                      int tag) const {
  for (int64_t at = 0; at < bytes; at += sizes_.piece_bytes) {
    lane.send(data + at, std::min(sizes_.piece_bytes, bytes - at), peer, tag, comm);
  }
}

void MpiBackend::recv(Lane& lane, MPI_Comm comm, std::byte* data, int64_t bytes, int peer,
                      int tag) const {
  for (int64_t at = 0; at < bytes; at += sizes_.piece_bytes) {
    lane.recv(data + at, std::min(sizes_.piece_bytes, bytes - at), peer, tag, comm);
  }
}

void MpiBackend::post(const Operation& operation, MpiPending& pending) {
  const int64_t bytes = operation.count * element(operation);
  if (operation.kind == OpKind::kAllReduce || operation.kind == OpKind::kReduceScatter) {
    const SliceReduce reduce(operation, rank_, size_, sizes_);
    const int64_t first_tag = take_tags(reduce.num_tags());
    pending.lanes = reduce_lanes(reduce, *engine_, collectives_, [this, first_tag](int64_t number) {
      return tag(first_tag + number);
    });
    return;
  }
  Lane& lane = pending.lanes.emplace_back();
  switch (operation.kind) {
    case OpKind::kAllGather:
      return post_gather(operation, lane);
    case OpKind::kAllToAll:
      return post_all_to_all(operation, lane);
    case OpKind::kBroadcast:
      return post_broadcast(operation, lane);
    // A message of no bytes is one all the same: its recv waits for it.
    case OpKind::kSend:
      if (bytes == 0) return lane.send(nullptr, 0, operation.peer, operation.tag, messages_);
      return send(lane, messages_, operation.input, bytes, operation.peer, operation.tag);
    case OpKind::kRecv:
      if (bytes == 0) return lane.recv(nullptr, 0, operation.peer, operation.tag, messages_);
      return recv(lane, messages_, operation.output, bytes, operation.peer, operation.tag);
    default: {
      MPI_Request request = MPI_REQUEST_NULL;
      check_mpi(MPI_Ibarrier(collectives_, &request), "barrier");
      return lane.add(request);
    }
  }
}

void MpiBackend::post_gather(const Operation& operation, Lane& lane) {
  const int t = tag(take_tags(1));
  const auto part_bytes = [&](int r) {
    return operation.counts[static_cast<size_t>(r)] * element(operation);
  };
  for (int i = 1; i < size_; ++i) {
    const int from = (rank_ + size_ - i) % size_, to = (rank_ + i) % size_;
    recv(lane, collectives_, operation.output + part_offset(operation, from), part_bytes(from),
         from, t);
    send(lane, collectives_, operation.input, part_bytes(rank_), to, t);
  }
  copy(operation.input, operation.output + part_offset(operation, rank_), part_bytes(rank_));
}

void MpiBackend::post_all_to_all(const Operation& operation, Lane& lane) {
  const int t = tag(take_tags(1));
  const int64_t bytes = operation.count * element(operation);
  for (int i = 1; i < size_; ++i) {
    const int from = (rank_ + size_ - i) % size_, to = (rank_ + i) % size_;
    recv(lane, collectives_, operation.output + from * bytes, bytes, from, t);
    send(lane, collectives_, operation.input + to * bytes, bytes, to, t);
  }
  copy(operation.input + rank_ * bytes, operation.output + rank_ * bytes, bytes);
}

// NOLINTBEGIN(clang-analyzer-optin.mpi.MPI-Checker): as in mpi_engine.cpp
void MpiBackend::post_broadcast(const Operation& operation, Lane& lane) {
  const int64_t bytes = operation.count * element(operation);
  for (int64_t at = 0; at < bytes; at += sizes_.piece_bytes) {
    const auto n = static_cast<int>(std::min(sizes_.piece_bytes, bytes - at));
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(
        MPI_Ibcast(operation.output + at, n, MPI_BYTE, operation.peer, collectives_, &request),
        "broadcast");
    lane.add(request);
  }
}
// NOLINTEND(clang-analyzer-optin.mpi.MPI-Checker)

}  // namespace

std::shared_ptr<Backend> make_mpi(const MpiSizes& sizes) {
  int initialised = 0, provided = 0;
  MPI_Initialized(&initialised);
  if (initialised == 0) {
    check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided),
              "MPI_Init_thread");
  } else {
    check_mpi(MPI_Query_thread(&provided), "MPI_Query_thread");
  }
  if (provided < MPI_THREAD_SERIALIZED) {
    fail(ErrorKind::kBadRecipe, {.what = "this MPI library can't be used beside other threads",
                                 .where = "backend",
                                 .got = "thread level " + std::to_string(provided),
                                 .expected = "MPI_THREAD_SERIALIZED"});
  }
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  MPI_Comm collectives = MPI_COMM_NULL, messages = MPI_COMM_NULL;  // they inherit the handler
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &collectives), "MPI_Comm_dup");
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &messages), "MPI_Comm_dup");
  return std::make_shared<MpiBackend>(std::make_shared<MpiEngine>(), sizes, collectives, messages);
}

bool mpi_built_in() { return true; }

bool mpi_takes_cuda_memory() {
#if defined(MPIX_CUDA_AWARE_SUPPORT)
  return MPIX_Query_cuda_support() == 1;
#else
  return false;
#endif
}

}  // namespace hone::parallel
