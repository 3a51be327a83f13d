#include "parallel/liveness/meet.h"

#include <sys/socket.h>

#include <algorithm>
#include <set>

#include "tests/liveness/peers.h"

namespace hone::parallel {
namespace {

std::vector<Met> meet_all(const std::vector<std::unique_ptr<Listener>>& all,
                          std::chrono::milliseconds timeout, const std::set<int>& absent = {}) {
  std::vector<Met> met(all.size());
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (absent.contains(static_cast<int>(rank))) continue;
    threads.emplace_back([&, rank] {
      Meeting meeting = meeting_of(static_cast<int>(rank), all);
      meeting.timeout = timeout;
      met[rank] = meet(*all[rank], meeting);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return met;
}

TEST(Meet, EveryRankIsConnectedWithEveryOther) {
  const auto met = meet_all(listeners(5), 10s);
  for (const Met& one : met) {
    EXPECT_EQ(one.missing, "");
    EXPECT_EQ(one.links.size(), 4u);
  }
}

TEST(Meet, ARankThatDoesNotComeIsNamedByAllOthersAfterTheTimeout) {
  const auto met = meet_all(listeners(4), 500ms, {1});
  for (const size_t rank : {0, 2, 3}) {
    const std::string& missing = met[rank].missing;
    EXPECT_TRUE(missing.starts_with("rank 1 on ")) << missing;
    EXPECT_EQ(missing.find("rank 0"), std::string::npos) << missing;
    EXPECT_EQ(missing.find("rank 3"), std::string::npos) << missing;
    EXPECT_EQ(met[rank].links.size(), 2u);
  }
}

TEST(Meet, AnAddressWhereNobodyListensIsNamedWithTheReason) {
  auto all = listeners(2);
  Meeting meeting = meeting_of(1, all);
  meeting.timeout = 300ms;
  all[0].reset();
  const Met met = meet(*all[1], meeting);
  EXPECT_NE(met.missing.find("rank 0 on "), std::string::npos) << met.missing;
  EXPECT_NE(met.missing.find("Connection refused"), std::string::npos) << met.missing;
}

TEST(Meet, StrangersAreSentAwayAndKeepNobodyWaiting) {
  const auto all = listeners(2);
  std::vector<Socket> strangers;
  const std::string wrong = encode({.kind = MessageKind::kHello, .secret = "not ours", .rank = 1});
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\n\r\n"), wrong, std::string(5000, '\xff'), std::string()}) {
    strangers.push_back(start_connect(all[0]->endpoint()));
    pollfd wait{strangers.back().get(), POLLOUT, 0};
    ASSERT_EQ(::poll(&wait, 1, 5000), 1);
    ::send(strangers.back().get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  const auto met = meet_all(all, 10s);
  EXPECT_EQ(met[0].missing, "");
  EXPECT_EQ(met[0].links.size(), 1u);
}

TEST(Meet, PeersAreMutualAndReachEveryRankInFewSteps) {
  for (const int num_ranks : {1, 2, 64, 65, 100, 1024}) {
    std::vector<std::vector<int>> peers;
    for (int rank = 0; rank < num_ranks; ++rank) peers.push_back(peers_of(rank, num_ranks));
    std::set<int> reached = {0};
    int steps = 0;
    while (reached.size() < static_cast<size_t>(num_ranks) && steps < 20) {
      std::set<int> more = reached;
      for (const int rank : reached) {
        for (const int peer : peers[static_cast<size_t>(rank)]) more.insert(peer);
      }
      reached = std::move(more);
      ++steps;
    }
    EXPECT_LE(steps, 6) << num_ranks;
    for (int rank = 0; rank < num_ranks; ++rank) {
      for (const int peer : peers[static_cast<size_t>(rank)]) {
        EXPECT_NE(peer, rank);
        EXPECT_TRUE(std::ranges::count(peers[static_cast<size_t>(peer)], rank) == 1);
      }
    }
  }
}

}  // namespace
}  // namespace hone::parallel
