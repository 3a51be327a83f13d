// What the NCCL communicators of one rank share: the calls, their errors, and the end of it all.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "parallel/comm/nccl.h"

namespace hone::parallel {

// A communicator with its stream and its events.
struct NcclComm {
  NcclHandle handle = nullptr;
  CudaStream stream = nullptr;
  CudaEvent ready = nullptr;           // the compute stream at the start of an operation
  std::vector<CudaEvent> events;       // all made here for operations
  std::vector<CudaEvent> free_events;  // those no request holds
};

class NcclWorld {
 public:
  NcclWorld(const NcclApi& api, const NcclOptions& options, int rank);
  NcclWorld(const NcclWorld&) = delete;
  NcclWorld& operator=(const NcclWorld&) = delete;
  ~NcclWorld();  // aborts what finish() has not ended

  const NcclApi& api() const { return api_; }
  CudaStream compute_stream() const;

  // With its stream and first event; the handle is the caller's to make. It lives as long as the
  // world: to destroy one earlier would have to wait for its operations.
  NcclComm& add_communicator();

  // Throw for a code that is no success, after giving everything up. NCCL's "in progress" is none
  // of these; settle() sees what becomes of it.
  void check_nccl(int code, const std::string& call);
  void check_cuda(int code, const std::string& call);
  // Waits until the communicator's last call is really done, as a non-blocking one reports it: at
  // once but for the calls that connect ranks.
  void settle(int code, NcclHandle comm, const std::string& call);
  // Throws the asynchronous error of any communicator.
  void watch();
  // Until done() is true, watching; gives up after the timeout.
  void wait_until(const std::function<bool()>& done, const std::string& what);

  // Throws where nothing can be started any more.
  void require_usable(const std::string& operation) const;
  // An operation is about to start, which later errors name as the last.
  void begin(const std::string& operation);
  // Aborts every communicator, once.
  void give_up() noexcept;
  // Ends every communicator; collective. Nothing can be started afterwards.
  void finish();

 private:
  [[noreturn]] void fail_all(int kind, const std::string& what, const std::string& hint = "");
  void destroy_streams() noexcept;

  NcclApi api_;
  NcclOptions options_;
  int rank_;
  std::string last_operation_ = "before the first operation";
  std::deque<NcclComm> communicators_;
  bool given_up_ = false, finished_ = false;
};

}  // namespace hone::parallel
