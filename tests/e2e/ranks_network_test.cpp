// Ranks on machines of their own (tests/support/networks.sh), which meet over TCP, and the network
// between them.
#include "tests/e2e/ranks.h"

namespace hone::test {
namespace {

constexpr int kRanks = 3;
constexpr int kPeerLost = 76;

class RanksNetwork : public testing::Test {
 protected:
  void SetUp() override {
    const ProcessResult started = networks("start", {std::to_string(kRanks)});
    ASSERT_EQ(started.code, 0) << "needs the right to make network namespaces: " << started.err;
    work_.write_recipe(for_ranks({{"global_batch_size", "3"},
                                  {"sample_prompts", ""},
                                  {"sample_max_new_tokens", ""},
                                  {"comm_timeout", "4"}}));
  }
  void TearDown() override { networks("stop", {std::to_string(kRanks)}); }

  ProcessResult networks(const std::string& verb, const std::vector<std::string>& more) {
    std::vector<std::string> command = {kScript, verb, prefix_};
    command.insert(command.end(), more.begin(), more.end());
    return run_process(command);
  }

  // Each rank writes what it says and its exit code into files of its own.
  ProcessResult train(const std::string& arguments, const std::function<void(pid_t)>& meanwhile) {
    const std::string script =
        "export WORLD_SIZE=3 MASTER_ADDR=10.91.0.1 MASTER_PORT=29500\n"
        "for r in 0 1 2; do\n"
        "  (code=0; RANK=$r timeout -k 5 60 $0 run $1 $r $2 train recipe.yaml " +
        arguments +
        " 2> err-$r || code=$?; echo $code > code-$r) &\n"
        "done\nwait";
    return work_.run({"bash", "-c", script, kScript, prefix_, (kBin / "hone").string()}, {},
                     meanwhile);
  }
  int code_of(int rank) { return std::stoi(slurp(work_ / ("code-" + std::to_string(rank)))); }
  std::string said_by(int rank) { return slurp(work_ / ("err-" + std::to_string(rank))); }

  const std::string kScript = std::string(kSourceDir) + "/tests/support/networks.sh";
  const std::string prefix_ = "hone-" + std::to_string(::getpid());
  Workspace work_;
};

TEST_F(RanksNetwork, MachinesMeetOverTheirInterfacesAndTrainAsOne) {
  train("", {});
  for (int rank = 0; rank < kRanks; ++rank) ASSERT_EQ(code_of(rank), 0) << said_by(rank);
  EXPECT_NE(said_by(0).find("3 ranks on 3 machines: "), std::string::npos) << said_by(0);
  EXPECT_NE(said_by(0).find("node2: rank 2 on core"), std::string::npos) << said_by(0);
  Workspace alone;
  alone.write_recipe(for_ranks(
      {{"global_batch_size", "3"}, {"sample_prompts", ""}, {"sample_max_new_tokens", ""}}));
  ASSERT_EQ(alone.train().code, 0);
  expect_close(alone, work_, 1e-5, 1e-5);
}

TEST_F(RanksNetwork, ADisconnectedRankIsNamedByTheOthersAndEndsToo) {
  std::chrono::steady_clock::time_point begin;
  train("--set max_steps=100000 --set save_steps=0 --set eval_steps=0", [&](pid_t) {
    ASSERT_TRUE(
        wait_until([&] { return timeless_metrics(work_ / "out" / "metrics.jsonl").size() > 3; }));
    begin = std::chrono::steady_clock::now();
    ASSERT_EQ(networks("unplug", {"1"}).code, 0);
  });
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(4 + 8));
  for (int rank = 0; rank < kRanks; ++rank) EXPECT_EQ(code_of(rank), kPeerLost) << said_by(rank);
  for (const int rank : {0, 2}) {
    const std::string text = said_by(rank);
    for (const std::string& part :
         {std::string("FATAL 76 rank=") + std::to_string(rank) + " host=node" +
              std::to_string(rank),
          std::string("what=rank 1 on node1 gave no sign of life"),
          std::string("its last action: "), std::string("its last call: ")})
      EXPECT_NE(text.find(part), std::string::npos) << part << " is not in " << text;
  }
  EXPECT_NE(said_by(1).find("FATAL 76 rank=1 host=node1"), std::string::npos) << said_by(1);
}

// Open MPI starts its daemons by ssh, which is networks.sh here.
TEST_F(RanksNetwork, LaunchStartsRanksOnHosts) {
  write_text(work_ / "bin/ssh", "#!/bin/sh\nexec " + kScript + " login " + prefix_ + " \"$@\"\n");
  fs::permissions(work_ / "bin/ssh", fs::perms::owner_all);
  write_text(work_ / "c.yaml",
             "launcher: mpirun\nhosts: [10.91.0.1, 10.91.0.2, 10.91.0.3]\nranks_per_node: 1\n"
             "threads_per_rank: 1\ninterface: eth0\n"
             "mpirun_options: [--mca, btl, \"self,tcp\"]\n");
  const std::string path = (work_ / "bin").string() + ":" + std::getenv("PATH");
  const auto launch = [&](const std::vector<std::string>& more,
                          const std::function<void(pid_t)>& meanwhile = {}) {
    Environment environment = mpirun_environment();
    environment["PATH"] = path;
    std::vector<std::string> command = {"timeout", "-k",          "5",
                                        "100",     kScript,       "run",
                                        prefix_,   "0",           (kBin / "hone").string(),
                                        "launch",  "recipe.yaml", "--cluster",
                                        "c.yaml"};
    command.insert(command.end(), more.begin(), more.end());
    return work_.run(command, environment, meanwhile);
  };
  const ProcessResult result = launch({});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("3 ranks on 3 machines: "), std::string::npos) << result.err;
  const ProcessResult lost =
      launch({"--set", "output_dir=lost", "--set", "max_steps=100000", "--set", "save_steps=0",
              "--set", "eval_steps=0"},
             [&](pid_t) {
               const fs::path metrics = work_ / "lost" / "metrics.jsonl";
               ASSERT_TRUE(wait_until([&] { return timeless_metrics(metrics).size() > 3; }));
               ASSERT_EQ(networks("unplug", {"1"}).code, 0);
             });
  EXPECT_EQ(lost.code, kPeerLost) << lost.err;
  for (const int rank : {0, 2}) {
    const std::string fatal = "FATAL 76 rank=" + std::to_string(rank) + " host=node";
    EXPECT_EQ(times(lost.err, fatal), 1u) << lost.err;
  }
  EXPECT_NE(lost.err.find("what=rank 1 on node1 gave no sign of life"), std::string::npos)
      << lost.err;
}

}  // namespace
}  // namespace hone::test
