#include "parallel/comm/mpi_engine.h"

#include <algorithm>
#include <thread>

#include "core/error.h"

namespace hone::parallel {

using core::ErrorKind;
using core::fail;

void check_mpi(int code, const std::string& what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0, error_class = MPI_ERR_OTHER;
  MPI_Error_string(code, text, &length);
  MPI_Error_class(code, &error_class);
  const int ours[] = {MPI_ERR_BUFFER, MPI_ERR_COUNT, MPI_ERR_TYPE,     MPI_ERR_TAG, MPI_ERR_COMM,
                      MPI_ERR_RANK,   MPI_ERR_ROOT,  MPI_ERR_TRUNCATE, MPI_ERR_ARG, MPI_ERR_OP};
  const bool is_ours = std::find(std::begin(ours), std::end(ours), error_class) != std::end(ours);
  fail(is_ours ? ErrorKind::kInternal : ErrorKind::kPeerLost,
       {.what = "MPI: " + std::string(text), .where = what});
}

void Lane::add(MPI_Request request, int64_t expected_bytes) {
  requests.push_back(request);
  expected.push_back(expected_bytes);
}

// The analyzer misses that a lane's requests are tested until they are complete.
// NOLINTBEGIN(clang-analyzer-optin.mpi.MPI-Checker)
void Lane::send(const std::byte* data, int64_t bytes, int peer, int tag, MPI_Comm comm) {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, peer, tag, comm, &request), "send");
  add(request);
}

void Lane::recv(std::byte* data, int64_t bytes, int peer, int tag, MPI_Comm comm) {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, peer, tag, comm, &request), "recv");
  add(request, bytes);
}
// NOLINTEND(clang-analyzer-optin.mpi.MPI-Checker)

bool MpiPending::advance_lane(Lane& lane) {
  for (;;) {
    if (!lane.requests.empty()) {
      std::vector<MPI_Status> statuses(lane.requests.size());
      int complete = 0;
      const int code = MPI_Testall(static_cast<int>(lane.requests.size()), lane.requests.data(),
                                   &complete, statuses.data());
      if (code == MPI_ERR_IN_STATUS) {
        for (const MPI_Status& status : statuses) {
          if (status.MPI_ERROR != MPI_ERR_PENDING) check_mpi(status.MPI_ERROR, what_);
        }
      }
      check_mpi(code, what_);
      if (complete == 0) return false;
      for (size_t i = 0; i < statuses.size(); ++i) {
        if (lane.expected[i] < 0) continue;
        int got = 0;
        check_mpi(MPI_Get_count(&statuses[i], MPI_BYTE, &got), what_);
        if (got != lane.expected[i]) {
          fail(ErrorKind::kInternal, {.what = "a message has another size than expected",
                                      .where = what_,
                                      .got = std::to_string(got) + " bytes",
                                      .expected = std::to_string(lane.expected[i])});
        }
      }
      lane.requests.clear();
      lane.expected.clear();
    }
    if (!lane.next || !lane.next(lane)) {
      lane.next = nullptr;
      return true;
    }
  }
}

void MpiPending::advance() {
  if (done_) return;
  try {
    bool all = true;
    for (Lane& lane : lanes) all = advance_lane(lane) && all;
    done_ = all;
  } catch (...) {
    error_ = std::current_exception();
    done_ = true;
  }
}

bool MpiPending::test() {
  if (!done_) engine_->advance_all();
  if (!done_ && engine_->given_up) {
    fail(ErrorKind::kPeerLost, {.what = "this rank gave up a collective", .where = what_});
  }
  if (error_) std::rethrow_exception(error_);
  return done_;
}

void MpiPending::abandon() noexcept {
  if (done_) return;
  if (!is_message) {
    engine_->given_up = true;
    return;
  }
  for (Lane& lane : lanes) {
    for (MPI_Request& request : lane.requests) {
      if (request == MPI_REQUEST_NULL) continue;
      MPI_Cancel(&request);
      MPI_Request_free(&request);
    }
    lane.requests.clear();
  }
  done_ = true;
}

void MpiPending::wait() {
  // Yields: with more ranks than cores the peer needs this one.
  while (!test()) std::this_thread::yield();
}

StagingPool::Staging StagingPool::take(size_t bytes) {
  if (free_.empty()) return {std::make_unique_for_overwrite<std::byte[]>(bytes), bytes};
  Staging last = std::move(free_.back());
  free_.pop_back();
  if (last.size < bytes) last = {std::make_unique_for_overwrite<std::byte[]>(bytes), bytes};
  return last;
}

void StagingPool::give(Staging staging) {
  if (staging.size > 0) free_.push_back(std::move(staging));
}

void MpiEngine::advance_all() {
  if (given_up) return;
  for (const auto& pending : active_) pending->advance();
  std::erase_if(active_, [](const auto& pending) { return pending->done_; });
}

}  // namespace hone::parallel
