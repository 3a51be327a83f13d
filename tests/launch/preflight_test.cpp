#include "launch/preflight.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "core/error.h"
#include "launch/binding.h"

namespace hone::launch {
namespace {

std::string failure(const std::string& text) {
  try {
    check_mpirun(parse_cluster("launcher: mpirun\n" + text, "c.yaml"));
  } catch (const core::Error& e) {
    return std::to_string(e.exit_code()) + " " + e.what();
  }
  return "none";
}

TEST(Preflight, MoreRanksOrCoresThanThereAreNeedToBeMeant) {
  const size_t cores = allowed_cores().size();
  const std::string many = "ranks_per_node: " + std::to_string(cores + 1) + "\n";
  EXPECT_EQ(failure(many), "78 c.yaml:2: more cores than this machine has: got " +
                               std::to_string(cores + 1) + " ranks, expected at most " +
                               std::to_string(cores) +
                               " cores (oversubscribe: true lets ranks share cores)");
  EXPECT_EQ(failure(many + "oversubscribe: true\n"), "none");
  EXPECT_EQ(
      failure("ranks_per_node: 2\ncpus_per_rank: " + std::to_string(cores) + "\n").substr(0, 11),
      "78 c.yaml:3");
}

TEST(Preflight, AWrongInterfaceIsNamedBesideTheRightOnes) {
  const std::string message = failure("interface: eth99\n");
  EXPECT_EQ(message.substr(0, 11), "78 c.yaml:2") << message;
  EXPECT_NE(message.find("lo"), std::string::npos) << message;
  EXPECT_EQ(failure("interface: lo\n"), "none");
  EXPECT_EQ(failure("interface: 127.0.0.0/8\n"), "none");
}

TEST(Preflight, AHostThatIsNotThereIsNamed) {
  const std::string message = failure("hosts: [no-such-host.invalid]\n");
  EXPECT_EQ(message.substr(0, 11), "69 c.yaml:2") << message;
  EXPECT_NE(message.find("no-such-host.invalid"), std::string::npos) << message;
}

TEST(Preflight, AProgramOrMpirunThatIsNotThereIsNamed) {
  EXPECT_EQ(failure("program: /nowhere/hone\n").substr(0, 11), "66 c.yaml:2");
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", "/nowhere", 1);
  const std::string message = failure("ranks_per_node: 2\noversubscribe: true\n");
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(message.substr(0, 27), "69 c.yaml:1: no mpirun on t") << message;
}

}  // namespace
}  // namespace hone::launch
