#include "parallel/comm/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

#include "core/error.h"

namespace hone::parallel {
namespace {

using core::Error;
using core::ErrorKind;

TEST(Threads, TheFirstExceptionComesOutAndTheOthersDoNotHang) {
  std::atomic<int> released{0};
  try {
    run_ranks(4, [&](Communicator& comm) {
      if (comm.rank() == 2) throw std::runtime_error("disk full");
      try {
        comm.barrier();
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kPeerLost);
        EXPECT_NE(std::string(error.what()).find("rank 2 failed: disk full"), std::string::npos);
        ++released;
        throw;
      }
    });
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "disk full");
  }
  EXPECT_EQ(released, 3);
}

TEST(Threads, AnExceptionWithARequestUnderWayIsTheOneThatComesOut) {
  try {
    run_ranks(2, [&](Communicator& comm) {
      std::vector<float> data(1 << 20);
      const auto count = static_cast<int64_t>(data.size());
      Request request = comm.start_all_reduce(data.data(), data.data(), count, DType::kFloat32);
      if (comm.rank() == 1) throw std::runtime_error("out of memory");
      request.wait();
      comm.barrier();
    });
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "out of memory");
  }
}

TEST(Threads, ARankThatReturnsEarlyIsNamed) {
  try {
    run_ranks(3, [](Communicator& comm) {
      if (comm.rank() != 1) comm.barrier();
    });
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kPeerLost);
    EXPECT_NE(std::string(error.what()).find("rank 1 has ended"), std::string::npos);
  }
}

TEST(Threads, RanksThatWaitForEachOtherAreFound) {
  try {
    run_ranks(2, [](Communicator& comm) {
      char byte = 0;
      comm.recv(&byte, 1, DType::kUInt8, 1 - comm.rank());
    });
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("all ranks wait for each other"), std::string::npos);
  }
}

TEST(Threads, AbortGivesEveryRankItsCode) {
  std::atomic<int> ended{0};
  EXPECT_THROW(run_ranks(3,
                         [&](Communicator& comm) {
                           try {
                             if (comm.rank() == 0) comm.abort(79, "loss is not finite");
                             comm.barrier();
                           } catch (const Error& error) {
                             if (error.exit_code() == 79) ++ended;
                             throw;
                           }
                         }),
               Error);
  EXPECT_EQ(ended, 3);
}

TEST(Threads, CallsThatDoNotFitTogetherAreRefused) {
  try {
    run_ranks(2, [](Communicator& comm) {
      std::vector<float> data(16);
      comm.all_reduce(data.data(), data.data(), comm.rank() == 0 ? 16 : 8, DType::kFloat32);
    });
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("rank 0 all_reduce sum of 16 float32"), std::string::npos) << text;
    EXPECT_NE(text.find("rank 1 all_reduce sum of 8 float32"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace hone::parallel
