#include "parallel/comm/backend.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace hone::parallel {

bool is_collective(OpKind kind) { return kind != OpKind::kSend && kind != OpKind::kRecv; }

int64_t total(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

bool all_equal(const std::vector<int64_t>& counts) {
  return std::all_of(counts.begin(), counts.end(), [&](int64_t c) { return c == counts[0]; });
}

int64_t part_offset(const Operation& operation, int rank) {
  const auto end = operation.counts.begin() + rank;
  return std::accumulate(operation.counts.begin(), end, int64_t{0}) *
         static_cast<int64_t>(dtype_size(operation.dtype));
}

namespace {

// "of 12 float32", "of 3+0+4 float32" for parts of different sizes.
std::string sizes(const Operation& operation) {
  const auto& counts = operation.counts;
  std::string text = std::to_string(operation.count);
  if (!counts.empty()) {
    text = std::to_string(counts[0]);
    if (all_equal(counts)) {
      text += " per rank";
    } else {
      for (size_t i = 1; i < counts.size(); ++i) text += "+" + std::to_string(counts[i]);
    }
  }
  return " of " + text + " " + dtype_name(operation.dtype);
}

}  // namespace

std::string describe(const Operation& operation) {
  const std::string order = operation.ordered ? "_ordered " : " ";
  const std::string reduce = order + reduce_name(operation.reduce);
  const std::string peer = std::to_string(operation.peer);
  switch (operation.kind) {
    case OpKind::kAllReduce:
      return "all_reduce" + reduce + sizes(operation);
    case OpKind::kReduceScatter:
      return "reduce_scatter" + reduce + sizes(operation);
    case OpKind::kAllGather:
      return "all_gather" + sizes(operation);
    case OpKind::kAllToAll:
      return "all_to_all" + sizes(operation) + " for each rank";
    case OpKind::kBroadcast:
      return "broadcast from rank " + peer + sizes(operation);
    case OpKind::kBarrier:
      return "barrier";
    case OpKind::kSend:
      return "send to rank " + peer + " with tag " + std::to_string(operation.tag) +
             sizes(operation);
    case OpKind::kRecv:
      return "recv from rank " + peer + " with tag " + std::to_string(operation.tag) +
             sizes(operation);
  }
  return "?";
}

std::vector<int> split_members(Backend& backend, int color, int key) {
  const auto n = static_cast<size_t>(backend.size());
  const std::array<int32_t, 2> mine = {color, key};
  std::vector<std::array<int32_t, 2>> all(n);
  backend
      .start({.kind = OpKind::kAllGather,
              .dtype = DType::kInt32,
              .input = reinterpret_cast<const std::byte*>(mine.data()),
              .output = reinterpret_cast<std::byte*>(all.data()),
              .counts = std::vector<int64_t>(n, 2)})
      ->wait();
  std::vector<int> members;
  for (size_t r = 0; r < n; ++r) {
    if (all[r][0] == color) members.push_back(static_cast<int>(r));
  }
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) {
    return all[static_cast<size_t>(a)][1] < all[static_cast<size_t>(b)][1];
  });
  return members;
}

}  // namespace hone::parallel
