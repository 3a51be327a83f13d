#include "parallel/comm/nccl_world.h"

#include <thread>
#include <utility>

#include "core/error.h"

namespace hone::parallel {

using core::ErrorKind;
using Clock = std::chrono::steady_clock;

NcclWorld::NcclWorld(const NcclApi& api, const NcclOptions& options, int rank)
    : api_(api), options_(options), rank_(rank) {
  check_cuda(api_.set_device(options_.device), "cudaSetDevice");
}

NcclWorld::~NcclWorld() {
  if (!finished_) give_up();
  destroy_streams();
}

CudaStream NcclWorld::compute_stream() const {
  return options_.compute_stream ? options_.compute_stream() : nullptr;
}

NcclComm& NcclWorld::add_communicator() {
  NcclComm& comm = communicators_.emplace_back();
  check_cuda(api_.stream_create(&comm.stream), "cudaStreamCreateWithFlags");
  check_cuda(api_.event_create(&comm.ready), "cudaEventCreateWithFlags");
  return comm;
}

void NcclWorld::fail_all(int kind, const std::string& what, const std::string& hint) {
  give_up();
  core::fail(static_cast<ErrorKind>(kind),
             {.what = what,
              .where = "rank " + std::to_string(rank_) + ", " + last_operation_,
              .hint = hint});
}

void NcclWorld::check_nccl(int code, const std::string& call) {
  if (code == kNcclSuccess || code == kNcclInProgress) return;
  const bool ours =
      code == kNcclInvalidArgument || code == kNcclInvalidUsage || code == kNcclUnhandledCudaError;
  fail_all(static_cast<int>(ours ? ErrorKind::kInternal : ErrorKind::kPeerLost),
           call + ": " + api_.nccl_error_string(code));
}

void NcclWorld::check_cuda(int code, const std::string& call) {
  if (code == kCudaSuccess) return;
  fail_all(static_cast<int>(ErrorKind::kInternal), call + ": " + api_.cuda_error_string(code));
}

void NcclWorld::settle(int code, NcclHandle comm, const std::string& call) {
  check_nccl(code, call);
  if (code == kNcclSuccess) return;
  if (comm == nullptr) {
    fail_all(static_cast<int>(ErrorKind::kInternal), call + ": there is no communicator");
  }
  const auto end = Clock::now() + options_.timeout;
  int state = kNcclInProgress;
  while (true) {
    check_nccl(api_.comm_get_async_error(comm, &state), "ncclCommGetAsyncError");
    check_nccl(state, call);
    if (state == kNcclSuccess) return;
    if (Clock::now() > end) {
      fail_all(static_cast<int>(ErrorKind::kPeerLost), call + ": another rank does not answer",
               "waited " + std::to_string(options_.timeout.count()) + " ms");
    }
    std::this_thread::yield();
  }
}

void NcclWorld::watch() {
  if (given_up_) require_usable(last_operation_);
  if (finished_) return;
  for (const NcclComm& comm : communicators_) {
    if (comm.handle == nullptr) continue;
    int state = kNcclSuccess;
    check_nccl(api_.comm_get_async_error(comm.handle, &state), "ncclCommGetAsyncError");
    check_nccl(state, "NCCL reports");
  }
}

void NcclWorld::wait_until(const std::function<bool()>& done, const std::string& what) {
  const auto end = Clock::now() + options_.timeout;
  while (true) {
    watch();
    if (done()) return;
    if (Clock::now() > end) {
      fail_all(static_cast<int>(ErrorKind::kPeerLost), what + ": another rank does not answer",
               "waited " + std::to_string(options_.timeout.count()) + " ms");
    }
    std::this_thread::yield();
  }
}

void NcclWorld::begin(const std::string& operation) {
  require_usable(operation);
  last_operation_ = operation;
}

void NcclWorld::require_usable(const std::string& operation) const {
  if (given_up_ || finished_) {
    core::fail(given_up_ ? ErrorKind::kPeerLost : ErrorKind::kInternal,
               {.what = given_up_ ? "this rank has given up its NCCL communicators"
                                  : "NCCL has been left already",
                .where = "rank " + std::to_string(rank_) + ", " + operation});
  }
}

void NcclWorld::give_up() noexcept {
  if (given_up_) return;
  given_up_ = true;
  for (NcclComm& comm : communicators_) {
    if (comm.handle != nullptr) api_.comm_abort(comm.handle);
    comm.handle = nullptr;
  }
}

// All are finalized before any is waited for: ranks share groups in different combinations.
void NcclWorld::finish() {
  for (const NcclComm& comm : communicators_) {
    check_nccl(api_.comm_finalize(comm.handle), "ncclCommFinalize");
  }
  for (const NcclComm& comm : communicators_) {
    settle(kNcclInProgress, comm.handle, "ncclCommFinalize");
  }
  for (NcclComm& comm : communicators_) {
    const NcclHandle handle = std::exchange(comm.handle, nullptr);
    check_nccl(api_.comm_destroy(handle), "ncclCommDestroy");
  }
  finished_ = true;
}

void NcclWorld::destroy_streams() noexcept {
  for (NcclComm& comm : communicators_) {
    if (comm.ready != nullptr) api_.event_destroy(comm.ready);
    for (const CudaEvent event : comm.events) api_.event_destroy(event);
    if (comm.stream != nullptr) api_.stream_destroy(comm.stream);
  }
}

}  // namespace hone::parallel
