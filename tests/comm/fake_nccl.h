// A stand-in for NCCL and the CUDA runtime: ranks are threads, device memory is host memory, and
// every call is recorded. Streams run what is put on them in order and only as far as events and
// other ranks allow, as on a device, so an operation whose peer is missing never ends and what is
// not waited for may not have happened.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "parallel/comm/nccl_api.h"

namespace hone::test {

struct FakeDevice;

class FakeNccl {
 public:
  explicit FakeNccl(int ranks);
  ~FakeNccl();

  // What rank `rank` calls; valid as long as this.
  parallel::NcclApi api(int rank);

  // The call named so ("all_reduce") returns this code at its next use by the rank.
  void fail_next(int rank, const std::string& call, int code);
  // What comm_get_async_error tells the rank from now on.
  void set_async_error(int rank, int code);

  // "record e1 s0", "all_reduce 12 type=7 op=0 c1 s1": handles by number in order of creation, s0
  // the default stream. Queries (event_query, comm_get_async_error) are left out.
  std::vector<std::string> calls(int rank);
  void clear_calls(int rank);
  int count(int rank, const std::string& call);  // calls that begin with this word
  int queries(int rank);                         // of events, since clear_calls
  // Streams, events and communicators made and not destroyed.
  int live_handles(int rank);

 private:
  friend struct FakeCalls;
  std::mutex lock_;
  std::unique_ptr<FakeDevice> device_;
};

}  // namespace hone::test
