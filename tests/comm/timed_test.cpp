#include "parallel/comm/timed.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "parallel/comm/threads.h"

namespace hone::parallel {
namespace {

using namespace std::chrono_literals;

// Bytes that a call of `num_ranks` ranks adds on rank 0.
int64_t bytes_of(int num_ranks, const std::function<void(Communicator&)>& call) {
  int64_t bytes = -1;
  run_ranks(num_ranks, [&](Communicator& plain) {
    const auto use = std::make_shared<AxisUse>();
    Communicator comm = timed(plain, use);
    call(comm);
    if (comm.rank() == 0) bytes = use->bytes;
  });
  return bytes;
}

TEST(Timed, BytesAreThoseOfARing) {
  std::vector<std::vector<float>> buffers(4, std::vector<float>(240));
  const auto a = [&](Communicator& comm) {
    return buffers[static_cast<size_t>(comm.rank())].data();
  };
  const std::vector<int64_t> counts = {10, 20, 30};
  EXPECT_EQ(bytes_of(4, [&](Communicator& c) { c.all_reduce(a(c), a(c), 12, DType::kFloat32); }),
            2 * 48 * 3 / 4);
  EXPECT_EQ(bytes_of(3,
                     [&](Communicator& c) {
                       std::vector<float> part(30);
                       c.all_gather(part.data(), a(c), counts, DType::kFloat32);
                     }),
            240 * 2 / 3);
  EXPECT_EQ(bytes_of(3,
                     [&](Communicator& c) {
                       std::vector<float> part(30);
                       c.reduce_scatter(a(c), part.data(), counts, DType::kFloat32);
                     }),
            240 * 2 / 3);
  EXPECT_EQ(bytes_of(4,
                     [&](Communicator& c) {
                       std::vector<int64_t> to(20), from(20);
                       c.all_to_all(to.data(), from.data(), 5, DType::kInt64);
                     }),
            5 * 8 * 3);
  EXPECT_EQ(bytes_of(2, [&](Communicator& c) { c.broadcast(a(c), 7, DType::kFloat32, 1); }), 28);
  EXPECT_EQ(bytes_of(2, [](Communicator& c) { c.barrier(); }), 0);
  const auto message = [&](int sender) {
    return bytes_of(2, [&, sender](Communicator& c) {
      if (c.rank() == sender) {
        c.send(a(c), 9, DType::kFloat32, 1 - sender);
      } else {
        c.recv(a(c), 9, DType::kFloat32, sender);
      }
    });
  };
  EXPECT_EQ(message(0), 36);
  EXPECT_EQ(message(1), 0);
}

TEST(Timed, WaitingForALateRankCountsAndComputingBesideDoesNot) {
  run_ranks(2, [](Communicator& plain) {
    const auto use = std::make_shared<AxisUse>();
    Communicator comm = timed(plain, use);
    if (comm.rank() == 1) std::this_thread::sleep_for(200ms);
    comm.barrier();
    if (comm.rank() == 0) {
      EXPECT_GT(use->seconds, 0.1);
    }
    *use = {};
    float x = 1, y = 0;
    Request request = comm.start_all_reduce(&x, &y, 1, DType::kFloat32);
    std::this_thread::sleep_for(300ms);
    request.wait();
    EXPECT_EQ(y, 2);
    EXPECT_LT(use->seconds, 0.25);
    EXPECT_GT(use->seconds, 0);
  });
}

// Of an exchange that is hidden behind computing, what is left to wait for.
TEST(Timed, StartedExchangeCountsItsBytesAndTheWaitForALateRank) {
  run_ranks(2, [](Communicator& plain) {
    const auto use = std::make_shared<AxisUse>();
    Communicator comm = timed(plain, use);
    const std::vector<float> to = {1, 2, 3, 4};
    std::vector<float> from(4);
    if (comm.rank() == 1) std::this_thread::sleep_for(200ms);
    Request request = comm.start_all_to_all(to.data(), from.data(), 2, DType::kFloat32);
    request.wait();
    EXPECT_EQ(use->bytes, 8);
    if (comm.rank() == 0) {
      EXPECT_GT(use->seconds, 0.1);
      EXPECT_EQ(from[2], 1);
    }
  });
}

TEST(Timed, WhatIsSplitFromItIsPlain) {
  run_ranks(4, [](Communicator& plain) {
    const auto use = std::make_shared<AxisUse>();
    Communicator comm = timed(plain, use);
    Communicator pair = comm.split(comm.rank() / 2, comm.rank());
    float x = 1, y = 0;
    pair.all_reduce(&x, &y, 1, DType::kFloat32);
    EXPECT_EQ(y, 2);
    EXPECT_EQ(pair.size(), 2);
    EXPECT_EQ(use->bytes, 0);
    EXPECT_EQ(comm.rank(), plain.rank());
    EXPECT_EQ(comm.backend_name(), "threads");
  });
}

}  // namespace
}  // namespace hone::parallel
