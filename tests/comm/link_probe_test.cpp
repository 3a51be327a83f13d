#include "parallel/comm/link_probe.h"

#include <gtest/gtest.h>

#include <cmath>

#include "parallel/comm/threads.h"

namespace hone::parallel {
namespace {

TEST(LinkProbe, ClocksOfOneMachineAgreeAndOnlyTheFirstRankIsTold) {
  run_ranks(3, [](Communicator& comm) {
    const std::vector<double> offsets = clock_offsets(comm);
    ASSERT_EQ(offsets.size(), comm.rank() == 0 ? 3u : 0u);
    if (offsets.empty()) return;
    EXPECT_EQ(offsets[0], 0);
    for (const double offset : offsets) EXPECT_LT(std::abs(offset), 0.5);
  });
}

TEST(LinkProbe, EveryRankHasARateForSmallAndLargeBuffers) {
  run_ranks(4, [](Communicator& comm) {
    for (const size_t bytes : {size_t{1000}, size_t{8} << 20}) {
      std::vector<std::byte> buffer(bytes);
      const double rate = all_reduce_rate(comm, buffer.data(), static_cast<int64_t>(bytes));
      EXPECT_GT(rate, 1e4);
      EXPECT_LT(rate, 1e13);
    }
  });
}

}  // namespace
}  // namespace hone::parallel
