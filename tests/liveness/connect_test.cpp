#include "parallel/liveness/connect.h"

#include "core/environment.h"
#include "parallel/comm/agree.h"
#include "parallel/comm/threads.h"
#include "tests/liveness/peers.h"

namespace hone::parallel {
namespace {

// What every rank of three throws.
std::vector<std::string> errors_of(const ConnectOptions& options, core::ErrorKind kind) {
  std::vector<std::string> errors(3);
  run_ranks(3, [&](Communicator& world) {
    try {
      connect_ranks(world, options);
    } catch (const AgreedError& error) {
      EXPECT_EQ(error.kind(), kind);
      errors[static_cast<size_t>(world.rank())] = error.what();
    }
  });
  return errors;
}

TEST(ConnectRanks, AllAreConnectedAndKnowWhereTheOthersAre) {
  run_ranks(3, [](Communicator& world) {
    const ConnectedRanks connected = connect_ranks(world, {});
    EXPECT_EQ(connected.links.size(), 2u);
    EXPECT_EQ(connected.ranks.size(), 3u);
    for (const Endpoint& rank : connected.ranks) EXPECT_EQ(rank.host, core::host_name());
  });
}

TEST(ConnectRanks, RanksOfOneMachineTakeNeighbouringPorts) {
  int port = 0;
  {
    const Listener free({.one_machine = true});
    port = free.endpoint().port;
  }
  run_ranks(2, [port](Communicator& world) {
    const ConnectedRanks connected = connect_ranks(world, {.port = port});
    EXPECT_EQ(connected.ranks[0].port, port);
    EXPECT_EQ(connected.ranks[1].port, port + 1);
  });
}

TEST(ConnectRanks, APortThatOneRankCannotHaveIsOneErrorOfAllNamingIt) {
  const Listener taken({.one_machine = true});
  const auto errors = errors_of({.port = taken.endpoint().port - 2}, core::ErrorKind::kBadRecipe);
  for (const std::string& error : errors) {
    EXPECT_EQ(error, errors[0]);
    EXPECT_NE(error.find("rank 2: comm_port: the port is in use"), std::string::npos) << error;
  }
}

TEST(ConnectRanks, RanksThatDoNotAnswerInTimeAreNamedToAll) {
  const auto errors = errors_of({.timeout = 0ms}, core::ErrorKind::kPeerLost);
  for (const std::string& error : errors) {
    EXPECT_EQ(error, errors[0]);
    EXPECT_NE(error.find("from rank 0: rank 1 on " + core::host_name() + " (127.0.0.1 port "),
              std::string::npos)
        << error;
    EXPECT_NE(error.find("comm_interface"), std::string::npos) << error;
  }
}

}  // namespace
}  // namespace hone::parallel
