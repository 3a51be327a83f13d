// `hone launch` under a SLURM that runs on this machine (tests/support/slurm.sh).
#include <unistd.h>

#include <chrono>

#include "tests/e2e/launch.h"

namespace hone::test {
namespace {

const std::string kSlurm = std::string(kSourceDir) + "/tests/support/slurm.sh";

class LaunchSlurm : public testing::Test {
 protected:
  void SetUp() override {
    const ProcessResult result = run_process({kSlurm, "start", slurm_.path().string()});
    ASSERT_EQ(result.code, 0) << result.err;
    begin_ = std::chrono::steady_clock::now();
    environment_["SLURM_CONF"] = (slurm_ / "slurm.conf").string();
  }
  void TearDown() override { run_process({kSlurm, "stop", slurm_.path().string()}); }

  void write_cluster(const std::string& more) {
    write_text(work_ / "c.yaml",
               "launcher: slurm\npartition: low\nranks_per_node: 2\nthreads_per_rank: 1\n" + more);
  }
  // Long enough for what a test does to a run, short enough to be run twice.
  static std::map<std::string, std::string> recipe(int64_t num_steps) {
    return for_ranks({{"strict", "true"},
                      {"global_batch_size", "64"},
                      {"max_steps", std::to_string(num_steps)},
                      {"save_steps", "100000"},
                      {"eval_steps", "100000"},
                      {"logging_steps", "10"},
                      {"sample_prompts", ""},
                      {"sample_max_new_tokens", ""}});
  }
  // Of one rank: `strict` has the same bits.
  double train_whole(int64_t num_steps) {
    whole_.write_recipe(recipe(num_steps));
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(whole_.train({"--overwrite"}).code, 0);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  ProcessResult hone_launch(const std::vector<std::string>& arguments) {
    return launch(work_, arguments, environment_);
  }
  void submit(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"recipe.yaml", "--cluster", "c.yaml"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProcessResult result = hone_launch(arguments);
    ASSERT_EQ(result.code, 0) << result.err;
    job_ = core::read_json_file(work_ / "out/launch/record.json").at("job_id").get<std::string>();
  }
  ProcessResult slurm(const std::vector<std::string>& command) {
    return work_.run(command, environment_);
  }
  std::string state() {
    const std::string text = slurm({"scontrol", "show", "job", "--oneliner", job_}).out;
    const size_t at = text.find("JobState=") + 9;
    return text.substr(at, text.find(' ', at) - at);
  }
  bool wait_for(const std::string& wanted, int minutes = 1) {
    for (int i = 0; i < minutes; ++i) {
      if (wait_until([&] { return state() == wanted; })) return true;
    }
    return false;
  }
  // SLURM looks at time limits every half minute from its start on.
  void wait_to_be_before_a_look(int seconds) const {
    constexpr double kPeriod = 30;
    const std::chrono::duration<double> since = std::chrono::steady_clock::now() - begin_;
    const double wait =
        std::fmod(2 * kPeriod - seconds - std::fmod(since.count(), kPeriod), kPeriod);
    std::this_thread::sleep_for(std::chrono::duration<double>(wait));
  }
  bool wait_for_rows(size_t n) {
    return wait_until([&] { return num_rows(work_) > n; });
  }

  TemporaryFolder slurm_;
  Environment environment_;
  Workspace work_, whole_;
  std::string job_;
  std::chrono::steady_clock::time_point begin_;
};

TEST_F(LaunchSlurm, TheTimeLimitSavesRequeuesAndEndsInTheBitsOfARunWithoutOne) {
  constexpr int64_t kProbe = 200;
  constexpr double kSeconds = 20;
  const double seconds = train_whole(kProbe);
  const auto num_steps = static_cast<int64_t>(kProbe * kSeconds / std::max(seconds, 0.1));
  train_whole(num_steps);
  work_.write_recipe(recipe(num_steps));
  write_cluster("time: 1\nstop_before_time_limit: 50\nrestart: {max: 12}\n");
  wait_to_be_before_a_look(10);
  submit();
  ASSERT_TRUE(wait_for("COMPLETED", 5)) << state() << launch_log(work_);
  const std::string log = launch_log(work_);
  EXPECT_GE(times(log, "exit code 75: restart"), 1u) << log;
  EXPECT_GE(times(log, "stopped by signal"), 1u) << log;
  EXPECT_GE(times(log, "== hone launch: start 1 of job"), 1u)
      << "the log of the first start is gone";
  EXPECT_GE(times(log, "resuming from out/checkpoint-"), 1u) << log;
  EXPECT_EQ(weights_file(work_), weights_file(whole_));
}

TEST_F(LaunchSlurm, RestartsOfALostRankAreCountedAndEndWithItsCode) {
  work_.write_recipe(recipe(1000000));
  write_cluster("restart: {max: 1}\n");
  submit();
  for (const int start : {1, 2}) {
    SCOPED_TRACE("start " + std::to_string(start));
    ASSERT_TRUE(wait_until([&] {
      return times(launch_log(work_), "start " + std::to_string(start) + " of job") == 1 &&
             times(launch_log(work_), "step 10/") == static_cast<size_t>(start);
    })) << launch_log(work_);
    slurm({"scancel", "--signal=KILL", job_ + ".0"});
    ASSERT_TRUE(wait_until([&] {
      return times(launch_log(work_), "the ranks ended") == static_cast<size_t>(start);
    })) << launch_log(work_);
  }
  ASSERT_TRUE(wait_for("FAILED")) << state() << launch_log(work_);
  EXPECT_EQ(times(launch_log(work_), "exit code 76: no restart is left of 1"), 1u)
      << launch_log(work_);
  EXPECT_NE(hone_launch({"--status", "out"}).out.find("exit code 76"), std::string::npos);
}

TEST_F(LaunchSlurm, AStepThatCanNotStartIsNotTakenForAFinishedRun) {
  work_.write_recipe(recipe(20));
  write_cluster("restart: {max: 0}\n");
  // Folders in the way of PMIx.
  const std::string config = slurm({"scontrol", "show", "config"}).out;
  const int next = std::stoi(config.substr(config.find('=', config.find("NEXT_JOB_ID")) + 1));
  const auto leave_behind = [&](const std::string& step) {
    for (int job = next; job < next + 10; ++job) {
      fs::create_directories(
          slurm_ / "tmp" /
          ("spmix_appdir_" + std::to_string(::getuid()) + "_" + std::to_string(job) + "." + step));
    }
  };
  leave_behind("0");
  submit();
  ASSERT_TRUE(wait_for("COMPLETED")) << state() << launch_log(work_);
  EXPECT_EQ(times(launch_log(work_), "srun started no rank"), 1u) << launch_log(work_);
  EXPECT_NE(weights_file(work_), "");

  leave_behind("1");
  leave_behind("2");
  submit({"--overwrite"});
  ASSERT_TRUE(wait_for("FAILED")) << state() << launch_log(work_);
  EXPECT_EQ(times(launch_log(work_), "srun started no rank"), 1u + 3u) << launch_log(work_);
  EXPECT_EQ(times(launch_log(work_), "exit code 76: no restart is left"), 1u) << launch_log(work_);
}

TEST_F(LaunchSlurm, APreemptedRunGoesOnLaterAndIsNotCountedAsARestart) {
  train_whole(300);
  work_.write_recipe(recipe(300));
  write_cluster("restart: {max: 0}\n");
  submit();
  ASSERT_TRUE(wait_for_rows(3));
  ASSERT_EQ(slurm({"srun", "--partition=high", "--exclusive", "sleep", "1"}).code, 0);
  ASSERT_TRUE(wait_for("COMPLETED", 2)) << state() << launch_log(work_);
  EXPECT_EQ(times(launch_log(work_), "stopped by signal 15"), 1u) << launch_log(work_);
  EXPECT_EQ(times(launch_log(work_), "resuming from"), 1u) << launch_log(work_);
  EXPECT_EQ(weights_file(work_), weights_file(whole_));
}

TEST_F(LaunchSlurm, ACancelledRunHasACheckpointAndStaysCancelled) {
  work_.write_recipe(recipe(1000000));
  write_cluster("restart: {max: 5}\n");
  submit();
  ASSERT_TRUE(wait_for_rows(3));
  const ProcessResult twice = hone_launch({"recipe.yaml", "--cluster", "c.yaml", "--resume"});
  expect_failure(twice, 73, {"a run goes on", "job " + job_});
  ASSERT_EQ(slurm({"scancel", job_}).code, 0);
  ASSERT_TRUE(wait_for("CANCELLED")) << state() << launch_log(work_);
  ASSERT_TRUE(wait_until([&] { return times(launch_log(work_), "not started again") == 1; }))
      << launch_log(work_);
  expect_one_checkpoint(work_);

  submit({"--resume"});
  ASSERT_TRUE(wait_until([&] { return times(launch_log(work_), "resuming from") == 1; }));
  ASSERT_TRUE(wait_for("RUNNING"));
  const size_t rows = num_rows(work_);
  ASSERT_TRUE(wait_for_rows(rows + 2));
  ASSERT_EQ(hone_launch({"--cancel", "out"}).code, 0);
  ASSERT_TRUE(wait_for("FAILED")) << state() << launch_log(work_);
  EXPECT_EQ(times(launch_log(work_), "cancelled: not started again"), 1u) << launch_log(work_);
  EXPECT_EQ(times(launch_log(work_), "stopped by signal"), 2u) << launch_log(work_);
  EXPECT_NE(hone_launch({"--status", "out"}).out.find("FAILED"), std::string::npos);
  EXPECT_NE(hone_launch({"--logs", "out"}).out.find("start 1 of job " + job_), std::string::npos);
}

TEST_F(LaunchSlurm, ASweepIsAnArrayOfJobs) {
  work_.write_recipe(recipe(20));
  write_cluster("array_limit: 1\ncpus_per_rank: 1\n");
  submit({"--sweep", "seed=7,8"});
  ASSERT_TRUE(wait_until([&] {
    return fs::exists(work_ / "out/seed-7/adapter_model.safetensors") &&
           fs::exists(work_ / "out/seed-8/adapter_model.safetensors");
  })) << slurp(work_ / "out/launch/log-0.txt");
  ASSERT_TRUE(wait_until([&] { return slurm({"squeue", "--noheader"}).out.empty(); }));
  const ProcessResult status = hone_launch({"--status", "out"});
  EXPECT_EQ(times(status.out, "COMPLETED"), 2u) << status.out;
  EXPECT_NE(status.out.find("seed-8: step 20"), std::string::npos) << status.out;
  const std::string logs = hone_launch({"--logs", "out"}).out;
  EXPECT_NE(logs.find("log-1.txt"), std::string::npos);
  EXPECT_EQ(times(logs, ": ranks 0-1 on cores "), 2u) << "not bound:\n" << logs;
}

TEST_F(LaunchSlurm, WhatSlurmWouldRefuseIsSaidBeforeAnythingIsSent) {
  work_.write_recipe(recipe(20));
  write_text(work_ / "c.yaml", "launcher: slurm\npartition: lwo\n");
  expect_failure(hone_launch({"recipe.yaml", "--cluster", "c.yaml"}), 78,
                 {"c.yaml:2", "no such partition", "did you mean 'low'?"});
  write_text(work_ / "c.yaml", "launcher: slurm\nnodes: 3\n");
  expect_failure(hone_launch({"recipe.yaml", "--cluster", "c.yaml", "--set", "global_batch_size=6",
                              "--set", "strict=false"}),
                 78, {"c.yaml:2", "SLURM refuses the job"});
  expect_failure(hone_launch({"recipe.yaml", "--cluster", "c.yaml", "--detach"}), 64, {"--detach"});
  EXPECT_EQ(slurm({"squeue", "--noheader"}).out, "");
  TearDown();
  write_cluster("");
  expect_failure(hone_launch({"recipe.yaml", "--cluster", "c.yaml"}), 69,
                 {"SLURM does not answer"});
}

}  // namespace
}  // namespace hone::test
