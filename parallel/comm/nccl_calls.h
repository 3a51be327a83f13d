// Which NCCL calls an operation is, on the communicator's stream.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "parallel/comm/nccl_world.h"

namespace hone::parallel {

using NumberedMessages = std::vector<std::pair<int64_t, Operation>>;  // kSend and kRecv

struct NcclCalls {
  NcclWorld& world;
  NcclComm& comm;
  int rank = 0, size = 0;

  // A collective but a barrier. Of no elements it is no call.
  void post(const Operation& operation) const;
  // All in one group; each has elements.
  void post_messages(const NumberedMessages& messages) const;

 private:
  void post_reduce_scatter(const Operation& operation) const;
  void post_all_gather(const Operation& operation) const;
  void post_all_to_all(const Operation& operation) const;
  // `calls` returns the first code that is not good, or a good one.
  void group(const std::function<int()>& calls, const std::string& what) const;
  // One `call` for each rank whose part has elements.
  void group_of_parts(const Operation& operation,
                      const std::function<int(int rank, size_t count)>& call,
                      const std::string& what) const;
  void settle(int code, const std::string& call) const;
};

}  // namespace hone::parallel
