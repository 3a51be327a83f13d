// The backend over TCP: ranks as processes of this machine.
#include "parallel/comm/tcp.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <thread>

#include "core/error.h"
#include "parallel/comm/communicator.h"
#include "tests/comm/conformance.h"
#include "tests/comm/mesh_case.h"
#include "tests/support/process.h"

namespace hone::parallel {
namespace {

constexpr int kPassed = 0, kFailed = 1;

// A port that nobody has now; `held` keeps it.
int free_port(int* held = nullptr) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_ANY);
  ::bind(socket, reinterpret_cast<sockaddr*>(&here), sizeof here);
  socklen_t size = sizeof here;
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&here), &size);
  if (held != nullptr) {
    ::listen(socket, 1);
    *held = socket;
  } else {
    ::close(socket);
  }
  return ntohs(here.sin_port);
}

struct Ended {
  int code = 0;
  std::string said;
};

// Runs `work` on each of these ranks, a process each; an Error is its exit code and what it says.
std::vector<Ended> run_processes(const std::vector<TcpRendezvous>& ranks,
                                 const std::function<int(Communicator&)>& work) {
  test::TemporaryFolder folder;
  std::vector<pid_t> children;
  for (size_t i = 0; i < ranks.size(); ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      int code = kFailed;
      std::string said;
      try {
        Communicator comm(make_tcp(ranks[i]));
        code = work(comm);
      } catch (const core::Error& e) {
        code = e.exit_code();
        said = e.what();
      } catch (const std::exception& e) {
        said = e.what();
      }
      test::write_text(folder / std::to_string(i), said);
      ::_exit(code);
    }
    children.push_back(child);
  }
  std::vector<Ended> ends;
  for (size_t i = 0; i < ranks.size(); ++i) {
    int status = 0;
    ::waitpid(children[i], &status, 0);
    ends.push_back({WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                    test::slurp(folder / std::to_string(i))});
  }
  return ends;
}

std::vector<TcpRendezvous> whole_world(int size) {
  std::vector<TcpRendezvous> ranks;
  const int port = free_port();
  for (int rank = 0; rank < size; ++rank)
    ranks.push_back({.rank = rank, .size = size, .port = port, .seconds = 60});
  return ranks;
}

void expect_all_passed(const std::vector<Ended>& ends) {
  for (size_t rank = 0; rank < ends.size(); ++rank)
    EXPECT_EQ(ends[rank].code, kPassed) << "rank " << rank << ": " << ends[rank].said;
}

TEST(Tcp, DoesWhatEveryCommunicatorMust) {
  for (const int size : {1, 2, 3, 4}) {
    SCOPED_TRACE(std::to_string(size) + " ranks");
    expect_all_passed(run_processes(whole_world(size), [](Communicator& comm) {
      for (const auto& conformance : test::conformance_cases()) {
        try {
          conformance.run(comm);
        } catch (const std::exception& e) {
          throw std::runtime_error(conformance.name + ": " + e.what());
        }
        comm.barrier();
      }
      comm.finish();
      return kPassed;
    }));
  }
}

TEST(Tcp, ALostRankEndsTheOthersWhichNameIt) {
  const auto ends = run_processes(whole_world(3), [](Communicator& comm) {
    comm.barrier();
    if (comm.rank() == 1) ::kill(::getpid(), SIGKILL);
    std::vector<float> data(1000);
    for (int i = 0; i < 100; ++i) comm.all_reduce(data.data(), data.data(), 1000, DType::kFloat32);
    return kPassed;
  });
  EXPECT_EQ(ends[1].code, 128 + SIGKILL);
  for (const size_t rank : {0, 2}) {
    EXPECT_EQ(ends[rank].code, 76) << ends[rank].said;
    EXPECT_NE(ends[rank].said.find(" is gone"), std::string::npos) << ends[rank].said;
  }
  EXPECT_NE((ends[0].said + ends[2].said).find("rank 1 is gone"), std::string::npos);
}

TEST(Tcp, ARankThatDoesNotComeIsNamedByItsNumber) {
  auto ranks = whole_world(3);
  ranks.erase(ranks.begin() + 1);
  for (TcpRendezvous& rank : ranks) rank.seconds = 1;
  const auto ends = run_processes(ranks, [](Communicator&) { return kPassed; });
  EXPECT_EQ(ends[0].code, 76);
  EXPECT_NE(ends[0].said.find("rank 1 of 3 did not come within 1 s"), std::string::npos)
      << ends[0].said;
  EXPECT_EQ(ends[1].code, 76) << ends[1].said;
}

TEST(Tcp, WithoutRankZeroTheOthersSayWhereTheyLooked) {
  auto ranks = whole_world(2);
  ranks.erase(ranks.begin());
  ranks[0].seconds = 1;
  const auto ends = run_processes(ranks, [](Communicator&) { return kPassed; });
  EXPECT_EQ(ends[0].code, 76);
  const std::string place = "127.0.0.1:" + std::to_string(ranks[0].port);
  EXPECT_NE(ends[0].said.find("rank 0 did not answer within 1 s"), std::string::npos);
  EXPECT_NE(ends[0].said.find(place), std::string::npos) << ends[0].said;
}

TEST(Tcp, APortInUseIsSaidAtOnce) {
  int held = -1;
  const int port = free_port(&held);
  try {
    connect_ranks({.rank = 0, .size = 2, .port = port});
    ADD_FAILURE() << "connected";
  } catch (const core::Error& e) {
    EXPECT_EQ(e.exit_code(), 69);
    EXPECT_NE(std::string(e.what()).find("in use: got " + std::to_string(port)), std::string::npos)
        << e.what();
  }
  ::close(held);
}

TEST(Tcp, TwoOfOneNumberAndAnotherNumberOfRanksAreErrors) {
  auto ranks = whole_world(3);
  ranks[2].rank = 1;
  for (TcpRendezvous& rank : ranks) rank.seconds = 5;
  EXPECT_EQ(run_processes(ranks, [](Communicator&) { return kPassed; })[0].code, 78);
  ranks = whole_world(2);
  ranks[1].size = 3;
  ranks[1].seconds = 5;
  EXPECT_EQ(run_processes(ranks, [](Communicator&) { return kPassed; })[0].code, 78);
}

bool call_and_talk(int port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(static_cast<uint16_t>(port));
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  const bool called = ::connect(socket, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 &&
                      ::send(socket, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL) == 18;
  ::close(socket);
  return called;
}

TEST(Tcp, StrangersAtThePortAreHungUpOn) {
  const auto ranks = whole_world(2);
  std::vector<int> first;
  std::thread rank_0([&] { first = connect_ranks(ranks[0]); });
  EXPECT_TRUE(test::wait_until([&] { return call_and_talk(ranks[0].port); }));
  const std::vector<int> second = connect_ranks(ranks[1]);
  rank_0.join();
  ASSERT_EQ(first.size(), 2u);
  EXPECT_GE(first[1], 0);
  EXPECT_GE(second[0], 0);
  ::close(first[1]);
  ::close(second[0]);
}

TEST(Tcp, WhatIsMissingInTheEnvironmentIsNamed) {
  const auto failure = [](std::map<std::string, std::string> changes) {
    std::map<std::string, std::string> values = {
        {"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "2000"}};
    for (const auto& [name, value] : changes) values[name] = value;
    try {
      read_rendezvous([&](const char* name) {
        const auto at = values.find(name);
        return at == values.end() ? std::string() : at->second;
      });
    } catch (const core::Error& e) {
      EXPECT_EQ(e.exit_code(), 78);
      return std::string(e.what());
    }
    return std::string("none");
  };
  EXPECT_EQ(failure({}), "none");
  for (const auto& [name, value] :
       std::map<std::string, std::string>{{"RANK", "2"},
                                          {"WORLD_SIZE", "x"},
                                          {"MASTER_ADDR", ""},
                                          {"MASTER_PORT", "70000"},
                                          {"HONE_RENDEZVOUS_SECONDS", "0"}})
    EXPECT_NE(failure({{name, value}}).find(name + ": "), std::string::npos)
        << failure({{name, value}});
}

}  // namespace
}  // namespace hone::parallel
