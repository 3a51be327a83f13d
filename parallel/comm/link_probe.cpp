#include "parallel/comm/link_probe.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "core/environment.h"
#include "parallel/comm/timed.h"

namespace hone::parallel {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRoundTrips = 5;
constexpr int kTries = 3;
constexpr int64_t kFirstBytes = int64_t{64} << 10;
constexpr double kMostSeconds = 0.1;  // of the large try, by the rate of the first

double ask_clock(Communicator& comm, int rank) {
  double offset = 0, shortest = std::numeric_limits<double>::max();
  for (int i = 0; i < kRoundTrips; ++i) {
    double theirs = 0;
    const double begin = core::seconds_since_1970();
    comm.send(&begin, 1, DType::kFloat64, rank);
    comm.recv(&theirs, 1, DType::kFloat64, rank);
    const double end = core::seconds_since_1970();
    if (end - begin >= shortest) continue;
    shortest = end - begin;
    offset = theirs - (begin + end) / 2;
  }
  return offset;
}

double try_all_reduce(Communicator& comm, void* buffer, int64_t bytes) {
  const auto count = bytes / static_cast<int64_t>(sizeof(float));
  comm.barrier();
  const auto begin = Clock::now();
  comm.all_reduce(buffer, buffer, count, DType::kFloat32);
  comm.synchronize();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  const Operation operation{.kind = OpKind::kAllReduce, .dtype = DType::kFloat32, .count = count};
  return static_cast<double>(bytes_sent(operation, comm.size())) / std::max(seconds, 1e-9);
}

}  // namespace

std::vector<double> clock_offsets(Communicator& comm) {
  if (comm.rank() == 0) {
    std::vector<double> offsets = {0.0};
    for (int rank = 1; rank < comm.size(); ++rank) offsets.push_back(ask_clock(comm, rank));
    return offsets;
  }
  for (int i = 0; i < kRoundTrips; ++i) {
    double theirs = 0;
    comm.recv(&theirs, 1, DType::kFloat64, 0);
    const double mine = core::seconds_since_1970();
    comm.send(&mine, 1, DType::kFloat64, 0);
  }
  return {};
}

double all_reduce_rate(Communicator& comm, void* buffer, int64_t bytes) {
  const int64_t first_bytes = std::min(bytes, kFirstBytes);
  try_all_reduce(comm, buffer, first_bytes);  // connects the ranks
  double first = 0;  // the best: one alone may have met a rank that had just lost its core
  for (int i = 0; i < kTries; ++i)
    first = std::max(first, try_all_reduce(comm, buffer, first_bytes));
  // All take the same way: that of the slowest.
  int32_t is_slow = 2 * static_cast<double>(bytes) > first * kMostSeconds ? 1 : 0;
  Communicator host(comm.backend()->host());
  host.all_reduce(&is_slow, &is_slow, 1, DType::kInt32, ReduceOp::kMax);
  return is_slow != 0 || first_bytes == bytes ? first : try_all_reduce(comm, buffer, bytes);
}

}  // namespace hone::parallel
