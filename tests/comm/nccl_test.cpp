// The nccl backend over a recording fake of NCCL and the CUDA runtime.
#include "parallel/comm/nccl.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <tuple>

#include "core/error.h"
#include "parallel/comm/checked.h"
#include "parallel/comm/threads.h"
#include "tests/comm/conformance.h"
#include "tests/comm/fake_nccl.h"
#include "tests/comm/host_view.h"
#include "tests/comm/values.h"

namespace hone::test {
namespace {

using namespace parallel;  // NOLINT
using core::Error;
using core::ErrorKind;
using std::chrono::milliseconds;
using Calls = std::vector<std::string>;
using Parts = std::vector<int64_t>;

Communicator over(FakeNccl& fake, const Communicator& host, NcclOptions options = {}) {
  return Communicator(make_nccl(host.backend(), fake.api(host.rank()), options));
}

void nothing_is_left(FakeNccl& fake, int ranks) {
  for (int r = 0; r < ranks; ++r) EXPECT_EQ(fake.live_handles(r), 0) << "rank " << r;
}

// (ranks, debug mode), case.
using Configuration = std::tuple<int, bool>;
class NcclConformance : public testing::TestWithParam<std::tuple<Configuration, size_t>> {};

TEST_P(NcclConformance, Holds) {
  const auto& [configuration, index] = GetParam();
  const auto [ranks, debug] = configuration;
  const ConformanceCase conformance = conformance_cases()[index];
  FakeNccl fake(ranks);
  EXPECT_NO_THROW(run_ranks(ranks, [&, debug = debug](Communicator& host) {
    Communicator plain(std::make_shared<HostView>(over(fake, host).backend()));
    Communicator comm = debug ? checked(plain) : plain;
    conformance.run(comm);
    comm.finish();
  }));
  nothing_is_left(fake, ranks);
  EXPECT_EQ(fake.count(0, "comm_abort"), 0);
}

std::string name_of(const testing::TestParamInfo<NcclConformance::ParamType>& info) {
  const auto& [configuration, index] = info.param;
  const auto [ranks, debug] = configuration;
  return conformance_cases()[index].name + "_" + std::to_string(ranks) + (debug ? "_checked" : "");
}

INSTANTIATE_TEST_SUITE_P(
    Fake, NcclConformance,
    testing::Combine(testing::Values(Configuration{1, false}, Configuration{2, false},
                                     Configuration{3, false}, Configuration{4, false},
                                     Configuration{3, true}),
                     testing::Range(size_t{0}, conformance_cases().size())),
    name_of);

// What rank 0 of two calls for `use`.
Calls calls_of(const std::function<void(Communicator&)>& use, int* queries = nullptr) {
  FakeNccl fake(2);
  Calls calls;
  run_ranks(2, [&](Communicator& host) {
    Communicator comm = over(fake, host);
    host.barrier();
    fake.clear_calls(comm.rank());
    use(comm);
    if (comm.rank() == 0) {
      calls = fake.calls(0);
      if (queries != nullptr) *queries = fake.queries(0);
    }
    comm.finish();
  });
  return calls;
}

TEST(Nccl, AnOperationWaitsForComputeAndComputeForItAndTheHostForNothing) {
  int queries = -1;
  std::vector<float> data(5);
  std::vector<std::vector<float>> buffers(2, data);
  const Calls calls = calls_of(
      [&](Communicator& comm) {
        float* mine = buffers[static_cast<size_t>(comm.rank())].data();
        for (int i = 0; i < 2; ++i) {
          Request request = comm.start_all_reduce(mine, mine, 5, DType::kFloat32);
          request.wait();
        }
      },
      &queries);
  // s0 computes, s1 is the communicator's; the second time there is an event already.
  EXPECT_EQ(calls, (Calls{"event_record e2 s0", "stream_wait_event e2 s1",
                          "all_reduce 5 type=7 op=0 c3 s1", "event_create", "event_record e4 s1",
                          "stream_wait_event e4 s0", "event_record e2 s0",
                          "stream_wait_event e2 s1", "all_reduce 5 type=7 op=0 c3 s1",
                          "event_record e4 s1", "stream_wait_event e4 s0"}));
  EXPECT_EQ(queries, 0);
}

TEST(Nccl, RequestsUnderWayHaveEventsOfTheirOwn) {
  std::vector<std::vector<int32_t>> buffers(2, std::vector<int32_t>(8));
  const Calls calls = calls_of([&](Communicator& comm) {
    int32_t* mine = buffers[static_cast<size_t>(comm.rank())].data();
    Request a = comm.start_all_reduce(mine, mine, 1, DType::kInt32, ReduceOp::kMax);
    Request b = comm.start_all_reduce(mine + 4, mine + 4, 1, DType::kInt32, ReduceOp::kMin);
    b.wait();
    a.wait();
  });
  EXPECT_EQ(calls[2], "all_reduce 1 type=2 op=2 c3 s1");
  EXPECT_EQ(calls[7], "all_reduce 1 type=2 op=3 c3 s1");
  EXPECT_EQ(calls[calls.size() - 2], "stream_wait_event e5 s0");
  EXPECT_EQ(calls[calls.size() - 1], "stream_wait_event e4 s0");
}

TEST(Nccl, UnequalPartsAndAllToAllAreOneGroup) {
  std::vector<std::vector<float>> buffers(4, std::vector<float>(16));
  const auto in = [&](Communicator& comm) { return buffers[size_t(comm.rank())].data(); };
  const auto out = [&](Communicator& comm) { return buffers[size_t(comm.rank()) + 2].data(); };
  const auto middle = [](const Calls& calls) { return Calls(calls.begin() + 2, calls.end() - 3); };
  EXPECT_EQ(middle(calls_of([&](Communicator& comm) {
              comm.reduce_scatter(in(comm), out(comm), Parts{3, 1}, DType::kFloat32);
            })),
            (Calls{"group_start", "reduce 3 type=7 op=0 root=0 c3 s1",
                   "reduce 1 type=7 op=0 root=1 c3 s1", "group_end"}));
  EXPECT_EQ(middle(calls_of([&](Communicator& comm) {
              comm.all_gather(in(comm), out(comm), Parts{0, 2}, DType::kBFloat16);
            })),
            (Calls{"group_start", "broadcast 2 type=9 root=1 c3 s1", "group_end"}));
  EXPECT_EQ(middle(calls_of([&](Communicator& comm) {
              comm.all_to_all(in(comm), out(comm), 2, DType::kFloat32);
            })),
            (Calls{"memcpy_async 8 s1", "group_start", "send 2 type=7 peer=1 c3 s1",
                   "recv 2 type=7 peer=1 c3 s1", "group_end"}));
  EXPECT_EQ(middle(calls_of([&](Communicator& comm) {
              comm.all_gather(in(comm), out(comm), 2, DType::kFloat16);
            })),
            (Calls{"all_gather 2 type=6 c3 s1"}));
}

TEST(Nccl, MessagesThatNeedEachOtherRunAsOneGroup) {
  std::vector<std::vector<float>> buffers(4, std::vector<float>(16));
  const Calls calls = calls_of([&](Communicator& comm) {
    const int peer = 1 - comm.rank();
    Request receive =
        comm.start_recv(buffers[size_t(comm.rank())].data(), 3, DType::kFloat32, peer);
    comm.send(buffers[size_t(comm.rank()) + 2].data(), 3, DType::kFloat32, peer);
    receive.wait();
  });
  EXPECT_EQ(Calls(calls.begin() + 2, calls.begin() + 6),
            (Calls{"group_start", "recv 3 type=7 peer=1 c3 s1", "send 3 type=7 peer=1 c3 s1",
                   "group_end"}));
}

TEST(Nccl, TheCallersStreamIsTheOneThatWaitsAndEachGroupHasItsOwn) {
  FakeNccl fake(2);
  run_ranks(2, [&](Communicator& host) {
    const NcclApi api = fake.api(host.rank());
    CudaStream compute = nullptr;
    api.stream_create(&compute);
    Communicator comm = over(fake, host, {.compute_stream = [&] { return compute; }});
    Communicator group = comm.split(0, 0);
    fake.clear_calls(host.rank());
    float value = 1;
    group.all_reduce(&value, &value, 1, DType::kFloat32);
    group.synchronize();
    EXPECT_EQ(value, 2);
    const Calls calls = fake.calls(host.rank());
    EXPECT_EQ(
        Calls(calls.begin(), calls.begin() + 3),
        (Calls{"event_record e6 s1", "stream_wait_event e6 s5", "all_reduce 1 type=7 op=0 c7 s5"}));
    EXPECT_EQ(calls[5], "stream_wait_event e8 s1");
    comm.finish();
    api.stream_destroy(compute);
  });
  nothing_is_left(fake, 2);
  EXPECT_EQ(fake.count(0, "comm_finalize"), 2);
  EXPECT_EQ(fake.count(0, "comm_destroy"), 2);
  EXPECT_EQ(fake.count(0, "comm_abort"), 0);
}

// Runs `use` on rank 0 while rank 1 does its part of it, and gives rank 0's error.
Error error_of(
    FakeNccl& fake, const std::function<void(Communicator&)>& use,
    const std::function<void(Communicator&)>& peer = [](Communicator&) {}) {
  std::unique_ptr<Error> found;
  try {
    run_ranks(2, [&](Communicator& host) {
      Communicator comm = over(fake, host, {.timeout = milliseconds(200)});
      if (host.rank() == 1) return peer(comm);
      try {
        use(comm);
      } catch (const Error& error) {
        found = std::make_unique<Error>(error);
        throw;
      }
    });
  } catch (const std::exception&) {  // rank 0's, or what it did to rank 1
  }
  if (!found) throw std::runtime_error("no error");
  nothing_is_left(fake, 2);
  return *found;
}

bool says(const Error& error, const std::string& text) {
  return std::string(error.what()).find(text) != std::string::npos;
}

void use_everything(Communicator& comm) {
  std::vector<float> in(64), out(64);
  comm.all_reduce(in.data(), out.data(), 4, DType::kFloat32);
  comm.reduce_scatter(in.data(), out.data(), 4, DType::kFloat32);
  comm.reduce_scatter(in.data(), out.data(), Parts{1, 2}, DType::kFloat32);
  comm.all_gather(in.data(), out.data(), 4, DType::kFloat32);
  comm.broadcast(in.data(), 4, DType::kFloat32, 0);
  comm.all_to_all(in.data(), out.data(), 4, DType::kFloat32);
  comm.split(0, 0).barrier();
  comm.finish();
}

TEST(Nccl, EveryCallThatFailsIsAnErrorWithItsTextAndLeavesNothingBehind) {
  const Calls nccl = {"all_reduce", "reduce_scatter", "reduce",       "all_gather",
                      "broadcast",  "send",           "recv",         "group_start",
                      "group_end",  "comm_split",     "comm_finalize"};
  const Calls cuda = {"event_record", "stream_wait_event", "memcpy_async", "event_query"};
  for (const bool is_nccl : {true, false}) {
    for (const std::string& call : is_nccl ? nccl : cuda) {
      FakeNccl fake(2);
      const Error error = error_of(
          fake,
          [&](Communicator& comm) {
            fake.fail_next(0, call, is_nccl ? 2 : 700);
            use_everything(comm);
          },
          use_everything);
      EXPECT_TRUE(says(error, is_nccl ? "nccl text 2" : "cuda text 700")) << error.what();
      EXPECT_TRUE(says(error, "rank 0")) << error.what();
      EXPECT_EQ(error.kind(), is_nccl ? ErrorKind::kPeerLost : ErrorKind::kInternal) << call;
      EXPECT_EQ(fake.count(0, "group_start") - (call == "group_start" ? 1 : 0),
                fake.count(0, "group_end"))
          << call;
    }
  }
}

TEST(Nccl, FailuresBeforeThereIsACommunicatorReachTheRanks) {
  for (const std::string& call :
       Calls{"set_device", "stream_create", "event_create", "get_unique_id", "comm_init_rank"}) {
    FakeNccl fake(2);
    std::atomic<int> failed{0};
    fake.fail_next(0, call, 4);
    EXPECT_THROW(run_ranks(2,
                           [&](Communicator& host) {
                             try {
                               over(fake, host, {.timeout = milliseconds(200)});
                             } catch (const Error&) {
                               ++failed;
                               throw;
                             }
                           }),
                 Error);
    EXPECT_EQ(failed, 2) << call;
    nothing_is_left(fake, 2);
  }
}

TEST(Nccl, AnAsynchronousErrorSurfacesInTestWaitAndPollAndAbortsOnce) {
  using Look = std::function<void(Communicator&, Request&)>;
  for (const Look& look : {Look([](Communicator&, Request&r) { r.test(); }),
                           Look([](Communicator&, Request&r) { r.wait(); }),
                           Look([](Communicator&c, Request&) { c.poll(); }),
                           Look([](Communicator&c, Request&) { c.synchronize(); }),
                           Look([](Communicator&c, Request&) { c.barrier(); })}) {
    FakeNccl fake(2);
    std::vector<float> data(4);
    const Error error = error_of(fake, [&](Communicator& comm) {
      Request request = comm.start_all_reduce(data.data(), data.data(), 4, DType::kFloat32);
      fake.set_async_error(0, 6);
      EXPECT_THROW(look(comm, request), Error);
      EXPECT_EQ(fake.count(0, "comm_abort"), 1);
      EXPECT_THROW(comm.start_all_reduce(data.data(), data.data(), 4, DType::kFloat32), Error);
      request.wait();
    });
    EXPECT_EQ(error.kind(), ErrorKind::kPeerLost);
    EXPECT_EQ(fake.count(0, "comm_abort"), 1);
  }
}

TEST(Nccl, APeerThatDoesNotAnswerIsAnErrorAfterTheTimeout) {
  FakeNccl fake(2);
  std::atomic<bool> over_now{false};
  std::vector<float> data(4);
  const Error error = error_of(
      fake,
      [&](Communicator& comm) {
        const auto end = std::shared_ptr<void>(nullptr, [&](void*) { over_now = true; });
        comm.broadcast(data.data(), 4, DType::kFloat32, 1);  // no host waits for it
        comm.synchronize();
      },
      [&](Communicator&) {
        while (!over_now) std::this_thread::yield();
      });
  EXPECT_EQ(error.kind(), ErrorKind::kPeerLost);
  EXPECT_TRUE(says(error, "rank 0, broadcast from rank 1 of 4 float32")) << error.what();
  EXPECT_TRUE(says(error, "another rank does not answer")) << error.what();
  EXPECT_EQ(fake.count(0, "comm_abort"), 1);
}

TEST(Nccl, ARankThatNeverJoinsIsAnErrorAfterTheTimeout) {
  FakeNccl fake(2);
  run_ranks(2, [&](Communicator& host) {
    if (host.rank() == 1) {
      Buffer id(132);  // takes it and makes nothing of it
      host.broadcast(id.data(), 132, DType::kUInt8, 0);
    } else {
      try {
        over(fake, host, {.timeout = milliseconds(100)});
        ADD_FAILURE() << "nothing was thrown";
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kPeerLost);
        EXPECT_TRUE(says(error, "ncclCommInitRankConfig: another rank does not answer"));
      }
    }
    host.barrier();
  });
  nothing_is_left(fake, 2);
}

TEST(Nccl, AbortEndsNcclAndThenTheRun) {
  FakeNccl fake(2);
  const Error error = error_of(fake, [](Communicator& comm) { comm.abort(79, "not finite"); });
  EXPECT_EQ(error.exit_code(), 79);
  EXPECT_EQ(fake.count(0, "comm_abort"), 1);
}

TEST(Nccl, WhatNcclCanNotDoIsRefusedAndTheCommunicatorWorksOn) {
  std::vector<std::vector<float>> buffers(2, std::vector<float>(4, 1.0F));
  const Calls calls = calls_of([&](Communicator& comm) {
    float* mine = buffers[size_t(comm.rank())].data();
    try {
      comm.all_reduce_ordered(mine, mine, 4, DType::kFloat32);
      ADD_FAILURE() << "not refused";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kBadRecipe);
      EXPECT_TRUE(says(error, "fixed order")) << error.what();
    }
    EXPECT_THROW(comm.send(mine, 4, DType::kFloat32, 1 - comm.rank(), 3), Error);
    comm.all_reduce(mine, mine, 4, DType::kFloat32);
  });
  EXPECT_EQ(buffers[0], std::vector<float>(4, 2.0F));
  EXPECT_EQ(calls.size(), 6U);
}

}  // namespace
}  // namespace hone::test
