#include "parallel/comm/checked.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "core/error.h"
#include "parallel/comm/threads.h"

namespace hone::parallel {
namespace {

using core::Error;
using core::ErrorKind;
using namespace std::chrono_literals;

// What every rank threw; "" for nothing.
std::vector<std::string> errors(int ranks, std::chrono::milliseconds timeout,
                                const std::function<void(Communicator&)>& body) {
  std::vector<std::string> thrown(static_cast<size_t>(ranks));
  run_ranks(ranks, [&](Communicator& plain) {
    Communicator comm = checked(plain, {.timeout = timeout});
    try {
      body(comm);
    } catch (const Error& error) {
      thrown[static_cast<size_t>(plain.rank())] = error.what();
    }
    plain.barrier();  // outside of the check: all ranks have their error before any leaves
  });
  return thrown;
}

void expect_everywhere(const std::vector<std::string>& thrown, const std::string& text) {
  for (size_t r = 0; r < thrown.size(); ++r) EXPECT_EQ(thrown[r], text) << "rank " << r;
}

TEST(Checked, AnotherDtypeIsNamedOnEveryRank) {
  expect_everywhere(
      errors(3, 60s,
             [](Communicator& comm) {
               std::vector<float> data(8);
               comm.all_reduce(data.data(), data.data(), 4,
                               comm.rank() == 2 ? DType::kInt32 : DType::kFloat32);
             }),
      "ranks call different collectives: ranks 0 1: all_reduce sum of 4 float32 (call 1 of ranks 0 "
      "1 2); rank 2: all_reduce sum of 4 int32 (call 1 of ranks 0 1 2)");
}

TEST(Checked, AnotherCountIsNamedOnEveryRank) {
  expect_everywhere(
      errors(2, 60s,
             [](Communicator& comm) {
               std::vector<float> data(8);
               comm.barrier();
               const std::vector<int64_t> counts = {2, comm.rank() == 0 ? 2 : 3};
               comm.reduce_scatter(data.data(), data.data() + 2 * comm.rank(), counts,
                                   DType::kFloat32);
             }),
      "ranks call different collectives: rank 0: reduce_scatter sum of 2 per rank float32 (call 2 "
      "of ranks 0 1); rank 1: reduce_scatter sum of 2+3 float32 (call 2 of ranks 0 1)");
}

TEST(Checked, AnotherRootOrReductionIsFound) {
  const auto roots = errors(2, 60s, [](Communicator& comm) {
    float x = 0;
    comm.broadcast(&x, 1, DType::kFloat32, comm.rank());
  });
  EXPECT_NE(roots[0].find("rank 0: broadcast from rank 0"), std::string::npos) << roots[0];
  EXPECT_EQ(roots[0], roots[1]);
  const auto reductions = errors(2, 60s, [](Communicator& comm) {
    float x = 0;
    comm.all_reduce(&x, &x, 1, DType::kFloat32, comm.rank() == 0 ? ReduceOp::kMax : ReduceOp::kSum);
  });
  EXPECT_NE(reductions[1].find("rank 0: all_reduce max"), std::string::npos) << reductions[1];
}

TEST(Checked, RequestsAreComparedToo) {
  const auto thrown = errors(2, 60s, [](Communicator& comm) {
    std::vector<float> a(64), b(64);
    Request first = comm.start_all_reduce(a.data(), a.data(), 64, DType::kFloat32);
    Request second =
        comm.start_all_reduce(b.data(), b.data(), comm.rank() == 0 ? 64 : 32, DType::kFloat32);
    second.wait();
    first.wait();
  });
  EXPECT_NE(thrown[0].find("call 2"), std::string::npos) << thrown[0];
  EXPECT_EQ(thrown[0], thrown[1]);
}

TEST(Checked, ARankInAnotherGroupIsFoundByAll) {
  const auto thrown = errors(4, 60s, [](Communicator& comm) {
    Communicator pair = comm.split(comm.rank() / 2, comm.rank());
    if (comm.rank() == 1) {
      pair.barrier();
    } else {
      comm.barrier();
    }
  });
  for (const std::string& text : thrown) {
    EXPECT_NE(text.find("rank 1: barrier (call 1 of ranks 0 1)"), std::string::npos) << text;
    EXPECT_NE(text.find("barrier (call 2 of ranks 0 1 2 3)"), std::string::npos) << text;
  }
}

TEST(Checked, ASplitAgainstACollectiveIsFound) {
  const auto thrown = errors(2, 60s, [](Communicator& comm) {
    if (comm.rank() == 0) {
      comm.barrier();
    } else {
      comm.split(0, 0);
    }
  });
  EXPECT_NE(thrown[0].find("rank 1: split"), std::string::npos) << thrown[0];
  EXPECT_EQ(thrown[0], thrown[1]);
}

TEST(Checked, ARankThatCallsNothingIsNamedAfterTheTimeout) {
  const auto thrown = errors(3, 1000ms, [](Communicator& comm) {
    if (comm.rank() != 1) comm.barrier();
  });
  EXPECT_EQ(thrown[1], "");
  for (const size_t r : {0U, 2U}) {
    EXPECT_NE(thrown[r].find("rank 1 has called nothing"), std::string::npos) << thrown[r];
  }
}

TEST(Checked, AMessageNobodyReceivesIsNamedAfterTheTimeout) {
  run_ranks(2, [](Communicator& plain) {
    Communicator comm = checked(plain, {.timeout = 100ms});
    if (comm.rank() == 1) return;
    char byte = 0;
    Request request = comm.start_recv(&byte, 1, DType::kUInt8, 1, 9);
    try {
      request.wait();
      ADD_FAILURE() << "nothing was sent";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kPeerLost);
    }
  });
}

TEST(Checked, ABrokenCommunicatorSaysSoAgain) {
  const auto thrown = errors(2, 60s, [](Communicator& comm) {
    float x = 0;
    try {
      comm.broadcast(&x, 1, DType::kFloat32, comm.rank());
    } catch (const Error&) {
      comm.barrier();
    }
  });
  EXPECT_NE(thrown[0].find("broadcast from rank 0"), std::string::npos) << thrown[0];
}

}  // namespace
}  // namespace hone::parallel
