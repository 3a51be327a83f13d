// `hone launch` by mpirun on this machine, and what it refuses.
#include "tests/e2e/launch.h"

namespace hone::test {
namespace {

std::map<std::string, std::string> recipe() {
  return for_ranks({{"strict", "true"},
                    {"max_steps", "60"},
                    {"save_steps", "5"},
                    {"save_total_limit", "2"},
                    {"eval_steps", "30"}});
}

// A Workspace of a whole run on one rank, and one to launch in.
class LaunchMpirun : public testing::Test {
 protected:
  LaunchMpirun() {
    whole_.write_recipe(recipe());
    EXPECT_EQ(whole_.train().code, 0);
    work_.write_recipe(recipe());
    write_text(work_ / "c.yaml", mpirun_cluster());
  }

  Workspace whole_, work_;
};

TEST_F(LaunchMpirun, RunsTheRanksKeepsTheLogAndRefusesToRunOverIt) {
  const ProcessResult result = launch(work_, {"recipe.yaml", "--cluster", "c.yaml"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(weights_file(work_), weights_file(whole_));
  const std::string log = launch_log(work_);
  EXPECT_NE(log.find("mpirun -np 2"), std::string::npos) << log;
  EXPECT_NE(log.find(": ranks 0-1 share cores "), std::string::npos) << log;
  EXPECT_NE(log.find(", 1 thread each"), std::string::npos) << log;
  EXPECT_NE(result.err.find("step 60/60"), std::string::npos) << result.err;
  const ProcessResult status = launch(work_, {"--status", "recipe.yaml"});
  EXPECT_NE(status.out.find("with exit code 0"), std::string::npos) << status.out;
  EXPECT_NE(status.out.find("step 60, loss "), std::string::npos) << status.out;
  EXPECT_EQ(launch(work_, {"--logs", "out"}).out, log);
  expect_failure(launch(work_, {"recipe.yaml", "--cluster", "c.yaml"}), 73, {"--overwrite"});
}

TEST_F(LaunchMpirun, AKilledRankIsStartedAgainAndTheResultHasTheSameBits) {
  write_text(work_ / "c.yaml", mpirun_cluster("restart: {max: 2}\n"));
  const ProcessResult result =
      launch(work_, {"recipe.yaml", "--cluster", "c.yaml"}, {}, [&](pid_t pid) {
        ASSERT_TRUE(wait_until([&] { return num_rows(work_) > 8; }));
        ::kill(rank_processes(pid).at(1), SIGKILL);
      });
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(times(launch_log(work_), "exit code 76: restart 1 of 2"), 1u) << launch_log(work_);
  expect_same_bytes(whole_, work_, 60);
}

TEST_F(LaunchMpirun, DetachedItCanBeAskedFollowedAndCancelledWithACheckpoint) {
  auto longer = recipe();
  longer["max_steps"] = "100000";
  longer["scheduler_steps"] = "60";
  work_.write_recipe(longer);
  write_text(work_ / "c.yaml", mpirun_cluster("restart: {max: 5}\n"));
  const ProcessResult started = launch(work_, {"recipe.yaml", "--cluster", "c.yaml", "--detach"});
  ASSERT_EQ(started.code, 0) << started.err;
  EXPECT_NE(started.out.find("2 ranks on this machine"), std::string::npos) << started.out;
  ASSERT_TRUE(wait_until([&] { return num_rows(work_) > 8; }));
  expect_failure(launch(work_, {"recipe.yaml", "--cluster", "c.yaml", "--resume"}), 73,
                 {"a run goes on", "--cancel"});
  const ProcessResult status = launch(work_, {"--status", "out"});
  EXPECT_NE(status.out.find("runs as process"), std::string::npos) << status.out;
  ASSERT_EQ(launch(work_, {"--cancel", "out"}).code, 0);
  const ProcessResult logs = launch(work_, {"--logs", "out", "--follow"});
  EXPECT_EQ(logs.code, 0);
  EXPECT_NE(logs.out.find("stopped by signal"), std::string::npos) << logs.out;
  EXPECT_EQ(logs.out.find("restart 1"), std::string::npos) << logs.out;
  EXPECT_NE(launch(work_, {"--status", "out"}).out.find("with exit code 75"), std::string::npos);
}

TEST_F(LaunchMpirun, SeveralRunsOfASweepHaveFoldersOfTheirOwn) {
  const ProcessResult result = launch(work_, {"recipe.yaml", "--cluster", "c.yaml", "--sweep",
                                              "seed=7,8", "--set", "sample_prompts=[]"});
  ASSERT_EQ(result.code, 0) << result.err;
  const std::string seven = slurp(work_ / "out/seed-7/adapter_model.safetensors");
  EXPECT_EQ(seven, weights_file(whole_));
  EXPECT_NE(seven, slurp(work_ / "out/seed-8/adapter_model.safetensors"));
  const ProcessResult status = launch(work_, {"--status", "out"});
  EXPECT_NE(status.out.find("seed-8: step 60"), std::string::npos) << status.out;
}

TEST_F(LaunchMpirun, NothingIsStartedOnABadClusterOrRecipeOrWithoutALauncher) {
  write_text(work_ / "bad.yaml", "launcher: mpirun\nrank_per_node: 2\n");
  expect_failure(launch(work_, {"recipe.yaml", "--cluster", "bad.yaml"}), 78,
                 {"bad.yaml:2", "ranks_per_node"});
  write_text(work_ / "three.yaml", "launcher: mpirun\nranks_per_node: 3\noversubscribe: true\n");
  expect_failure(launch(work_, {"recipe.yaml", "--cluster", "three.yaml"}), 78,
                 {"recipe.yaml:", "3 data-parallel ranks"});
  write_text(work_ / "slurm.yaml", "launcher: slurm\npartition: gpu\nranks_per_node: 2\n");
  expect_failure(launch(work_, {"recipe.yaml", "--cluster", "nowhere.yaml"}), 66, {"nowhere.yaml"});
  expect_failure(launch(work_, {"recipe.yaml"}), 64, {"--cluster"});
  expect_failure(launch(work_, {"--status", "."}), 66, {"nothing was launched"});
  const std::string path = std::string(std::getenv("PATH"));
  const fs::path tools = work_ / "tools";  // a PATH without mpirun and SLURM
  fs::create_directories(tools);
  fs::create_symlink("/usr/bin/timeout", tools / "timeout");
  const Environment bare = {{"PATH", tools.string()}};
  expect_failure(launch(work_, {"recipe.yaml", "--cluster", "slurm.yaml"}, bare), 69,
                 {"SLURM is not on this machine"});
  expect_failure(launch(work_, {"recipe.yaml", "--cluster", "c.yaml"}, bare), 69,
                 {"no mpirun on this machine"});
  EXPECT_EQ(launch(work_, {"recipe.yaml", "--cluster", "slurm.yaml", "--dry-run"}, bare).code, 0);
  EXPECT_FALSE(fs::exists(work_ / "out"));
}

// Two processes that are told who they are and where they meet.
TEST_F(LaunchMpirun, PlainVariablesBringRanksTogether) {
  const std::string start = "export WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$0 HONE=$1\n";
  const std::string port = std::to_string(20000 + ::getpid() % 10000);
  const auto train = [&](const std::string& script) {
    return work_.run(
        {"timeout", "60", "bash", "-c", start + script, port, (kBin / "hone").string()});
  };
  const ProcessResult result = train(
      "RANK=1 LOCAL_RANK=1 $HONE train recipe.yaml & RANK=0 LOCAL_RANK=0 $HONE train recipe.yaml "
      "|| exit; wait $!");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(times(result.err, "step 60/60"), 1u) << result.err;
  expect_same_bytes(whole_, work_, 60);
  expect_failure(train("export HONE_RENDEZVOUS_SECONDS=1; RANK=0 $HONE train recipe.yaml"), 76,
                 {"rank 1 of 2 did not come within 1 s"});
  const ProcessResult lost = train(
      "more='--set output_dir=lost --set max_steps=100000'\n"
      "RANK=1 $HONE train recipe.yaml $more & pid=$!\n"
      "RANK=0 $HONE train recipe.yaml $more & first=$!\n"
      "until [ -s lost/metrics.jsonl ]; do sleep 0.1; done; kill -9 $pid; wait $first");
  expect_failure(lost, 76, {"FATAL 76", "rank 1 on "});
}

TEST_F(LaunchMpirun, RanksThatCanNotFindEachOtherDoNotTrainAlone) {
  const Environment plain = {{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "1"}};
  expect_failure(work_.train({}, plain), 78, {"rank 1 of 2", "hone launch"});
  expect_failure(work_.train({}, {{"RANK", "1"}}), 78, {"WORLD_SIZE"});
  Environment wanted = mpirun_environment();
  const ProcessResult result = mpirun(
      work_,
      {{.ranks = 2, .arguments = {"train", "recipe.yaml"}, .environment = {"HONE_RANKS=4"}}});
  expect_failure(result, 76, {"got 2 ranks, expected 4"});
  EXPECT_FALSE(fs::exists(work_ / "out"));
}

}  // namespace
}  // namespace hone::test
