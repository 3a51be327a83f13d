#include "parallel/liveness/heartbeat.h"

#include "tests/liveness/peers.h"

namespace hone::parallel {
namespace {

using Clock = std::chrono::steady_clock;

TEST(Heartbeat, AKilledRankIsNamedAtOnceByAllOthersWithItsLastAction) {
  PeerProcesses ranks(4, 20s);
  const auto begin = Clock::now();
  ranks.signal(2, SIGKILL);
  for (const int rank : {0, 1, 3}) {
    EXPECT_EQ(ranks.read_line(rank), "closed 2 work of rank 2; ") << "rank " << rank;
    EXPECT_EQ(ranks.exit_code(rank), 76);
  }
  EXPECT_LT(Clock::now() - begin, 5s);
}

TEST(Heartbeat, AStoppedRankIsNamedByAllOthersWithinTheTimeout) {
  PeerProcesses ranks(4, 2s);
  const auto begin = Clock::now();
  ranks.signal(0, SIGSTOP);
  for (const int rank : {1, 2, 3}) {
    EXPECT_EQ(ranks.read_line(rank), "silent 0 work of rank 0; ") << "rank " << rank;
  }
  EXPECT_LT(Clock::now() - begin, 2s);
  EXPECT_GT(Clock::now() - begin, 1s);
  for (const int rank : {1, 2, 3}) EXPECT_EQ(ranks.exit_code(rank), 76);
  // It goes on later, and finds that the run has ended without it.
  ranks.signal(0, SIGCONT);
  EXPECT_EQ(ranks.read_line(0), "silent 0 work of rank 0; ");
  EXPECT_EQ(ranks.exit_code(0), 76);
}

TEST(Heartbeat, RanksThatAreLostTogetherAreAllNamed) {
  PeerProcesses ranks(4, 20s);
  ranks.signal(1, SIGKILL);
  ranks.signal(3, SIGKILL);
  for (const int rank : {0, 2}) {
    const std::string line = ranks.read_line(rank);
    EXPECT_NE(line.find("closed 1 "), std::string::npos) << line;
    EXPECT_NE(line.find("closed 3 "), std::string::npos) << line;
  }
}

TEST(Heartbeat, ARankThatFailsGivesTheOthersItsExitCode) {
  PeerProcesses ranks(3, 20s, [](int rank, Heartbeat& heartbeat) {
    if (rank != 1) std::this_thread::sleep_for(20s);
    heartbeat.fail(70, "out of memory");
    ::_exit(70);
  });
  for (const int rank : {0, 2}) {
    EXPECT_EQ(ranks.read_line(rank), "failed 1 work of rank 1; ");
    EXPECT_EQ(ranks.exit_code(rank), 70);
  }
  EXPECT_EQ(ranks.exit_code(1), 70);
}

TEST(Heartbeat, AnOrderlyEndIsNoLossHoweverFarApartTheRanksEnd) {
  PeerProcesses ranks(4, 1s, [](int rank, Heartbeat& heartbeat) {
    std::this_thread::sleep_for(700ms * rank);
    heartbeat.goodbye();
  });
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(ranks.exit_code(rank), 0);
    EXPECT_EQ(ranks.read_line(rank), "");
  }
}

TEST(Heartbeat, ARankThatComputesForLongIsNotLost) {
  PeerProcesses ranks(2, 400ms, [](int, Heartbeat& heartbeat) {
    const auto end = Clock::now() + 2s;
    while (Clock::now() < end) {
    }
    heartbeat.goodbye();
  });
  for (int rank = 0; rank < 2; ++rank) EXPECT_EQ(ranks.exit_code(rank), 0);
}

TEST(Heartbeat, AJobThatIsStoppedAsAWholeGoesOn) {
  PeerProcesses ranks(3, 1s, [](int, Heartbeat& heartbeat) {
    const auto end = Clock::now() + 4s;
    while (Clock::now() < end) std::this_thread::sleep_for(50ms);
    heartbeat.goodbye();
  });
  for (int rank = 0; rank < 3; ++rank) ranks.signal(rank, SIGSTOP);
  std::this_thread::sleep_for(2s);
  for (int rank = 0; rank < 3; ++rank) ranks.signal(rank, SIGCONT);
  for (int rank = 0; rank < 3; ++rank) EXPECT_EQ(ranks.exit_code(rank), 0) << rank;
}

TEST(Heartbeat, OfMoreRanksThanAllWatchEachOtherEveryOneHearsOfALoss) {
  constexpr int kRanks = 70;
  PeerProcesses ranks(kRanks, 30s);
  ranks.signal(33, SIGKILL);
  for (int rank = 0; rank < kRanks; ++rank) {
    if (rank == 33) continue;
    EXPECT_EQ(ranks.read_line(rank), "closed 33 work of rank 33; ") << rank;
  }
}

TEST(Heartbeat, WaitingForALossEndsWithoutOne) {
  PeerProcesses ranks(2, 20s, [](int, Heartbeat& heartbeat) {
    const bool lost = heartbeat.wait_for_loss(200ms);
    heartbeat.goodbye();
    ::_exit(lost ? 1 : 0);
  });
  EXPECT_EQ(ranks.exit_code(0), 0);
  EXPECT_EQ(ranks.exit_code(1), 0);
}

}  // namespace
}  // namespace hone::parallel
