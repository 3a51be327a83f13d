// Operations under way over MPI. An operation is lanes of rounds: a round posts MPI requests, and
// when they are complete the next one does local work and posts more. MPI itself moves data only
// inside its calls, and a later round of ours starts only when somebody looks, so whoever waits for
// one operation moves all.
#pragma once

#ifndef OMPI_SKIP_MPICXX
#define OMPI_SKIP_MPICXX 1
#endif
#include <mpi.h>

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "parallel/comm/backend.h"

namespace hone::parallel {

// Throws for any code but MPI_SUCCESS, with MPI's text: kInternal for what the caller did wrong,
// kPeerLost for the rest.
void check_mpi(int code, const std::string& what);

struct Lane {
  std::vector<MPI_Request> requests;
  // Bytes each request must have received; -1 for what is no receive.
  std::vector<int64_t> expected;
  // Called when all requests are complete; posts the next round. False when there is none. Empty
  // for a lane of one round.
  std::function<bool(Lane&)> next;

  // Post a message of at most 2^31 - 1 bytes and keep its request.
  void send(const std::byte* data, int64_t bytes, int peer, int tag, MPI_Comm comm);
  void recv(std::byte* data, int64_t bytes, int peer, int tag, MPI_Comm comm);
  void add(MPI_Request request, int64_t expected_bytes = -1);
};

class MpiEngine;

class MpiPending : public Pending {
 public:
  MpiPending(std::shared_ptr<MpiEngine> engine, std::string what)
      : engine_(std::move(engine)), what_(std::move(what)) {}
  bool test() override;
  void wait() override;
  // A message that has not come yet is no longer expected. Anything else MPI would go on with, in
  // buffers that are gone: the engine does nothing more.
  void abandon() noexcept override;

  std::vector<Lane> lanes;
  bool is_message = false;

 private:
  friend class MpiEngine;
  void advance();  // keeps what it throws for test()
  bool advance_lane(Lane& lane);

  std::shared_ptr<MpiEngine> engine_;
  std::string what_;
  bool done_ = false;
  std::exception_ptr error_;
};

// Memory whose pages are there already: fresh memory for every reduction costs as much as the sums.
class StagingPool {
 public:
  struct Staging {
    std::unique_ptr<std::byte[]> data;
    size_t size = 0;
  };
  Staging take(size_t bytes);  // at least that many, of any content
  void give(Staging staging);  // kept for the next

 private:
  std::vector<Staging> free_;
};

// One per process, shared by all communicators split from the first.
class MpiEngine {
 public:
  void add(const std::shared_ptr<MpiPending>& pending) { active_.push_back(pending); }
  void advance_all();
  StagingPool staging;
  bool finished = false;  // MPI_Finalize has been called
  bool given_up = false;  // a collective was abandoned

 private:
  std::vector<std::shared_ptr<MpiPending>> active_;
};

}  // namespace hone::parallel
