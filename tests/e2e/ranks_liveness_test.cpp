// Ranks that are lost: all others say which one, what it did last, and end.
#include <sys/socket.h>

#include <random>

#include "parallel/liveness/listener.h"
#include "tests/e2e/ranks.h"

namespace hone::test {
namespace {

constexpr int kKilled = 128 + SIGKILL;
constexpr int kPeerLost = 76;

bool is_alive(pid_t pid) {
  const std::string status = slurp(fs::path("/proc") / std::to_string(pid) / "stat");
  return !status.empty() && status.find(") Z ") == std::string::npos;
}

// mpirun as `hone launch` starts it: those that outlive another rank get their time.
ProcessResult launch(const Workspace& work, int ranks, const std::vector<std::string>& arguments,
                     const std::function<void(pid_t)>& meanwhile = {}) {
  std::vector<std::string> command = mpirun_words(60);
  command.insert(command.end(), {"--mca", "odls_base_sigkill_timeout", "5", "-np",
                                 std::to_string(ranks), (kBin / "hone").string()});
  command.insert(command.end(), arguments.begin(), arguments.end());
  return work.run(command, mpirun_environment(), meanwhile);
}

class RanksLiveness : public testing::Test {
 protected:
  RanksLiveness() {
    work_.write_recipe(for_ranks({{"max_steps", "100000"},
                                  {"save_steps", "0"},
                                  {"eval_steps", "0"},
                                  {"sample_prompts", ""},
                                  {"comm_timeout", "4"}}));
  }

  // Signals one of four ranks once some steps are done: three of every rank, as rank 0 tells of its
  // fourth.
  ProcessResult lose(int rank, int number, const Sizes& sizes) {
    return launch(work_, 4, sizes.arguments(), [&](pid_t pid) {
      const fs::path metrics = work_ / "out" / "metrics.jsonl";
      ASSERT_TRUE(wait_until([&] { return timeless_metrics(metrics).size() > 4; }));
      ranks_ = rank_processes(pid);
      ASSERT_EQ(ranks_.size(), 4u);
      begin_ = std::chrono::steady_clock::now();
      ::kill(ranks_.at(rank), number);
    });
  }

  void expect_named_by_all_others(const ProcessResult& result, int lost, const std::string& how) {
    for (int rank = 0; rank < 4; ++rank) {
      if (rank == lost) continue;
      const std::string fatal = "FATAL 76 rank=" + std::to_string(rank) + " host=";
      EXPECT_EQ(times(result.err, fatal), 1u) << rank << "\n" << result.err;
    }
    std::istringstream lines(result.err);
    for (std::string line; std::getline(lines, line);) {
      // mpirun lets a stopped rank go on before it ends it.
      const bool is_own = line.find("have given this one up") != std::string::npos;
      if (!line.starts_with("FATAL") || is_own) continue;
      for (const std::string& text : {"what=rank " + std::to_string(lost) + " on ", how,
                                      std::string(" step="), std::string("its last action: "),
                                      std::string("its last call: "), std::string(", number ")})
        EXPECT_NE(line.find(text), std::string::npos) << text << " is not in " << line;
    }
  }

  // What the ranks did last, by those that could still tell.
  void expect_flight_records(int lost) {
    for (int rank = 0; rank < 4; ++rank) {
      const fs::path path = work_ / ("out/flight-record/rank-" + std::to_string(rank) + ".json");
      if (rank == lost) continue;
      ASSERT_TRUE(fs::exists(path)) << rank;
      const core::Json record = core::read_json_file(path);
      EXPECT_EQ(record.at("rank"), rank);
      EXPECT_EQ(record.at("lost").at(0).at("rank"), lost);
      EXPECT_GT(record.at("step"), 2);
      const core::Json& actions = record.at("actions");
      EXPECT_GT(actions.size(), 100u);
      EXPECT_LE(actions.size(), 1000u);
      bool has_forward = false, has_call = false;
      for (const core::Json& action : actions) {
        has_forward |= action.at("what").get<std::string>().starts_with("forward layers.1");
        has_call |= action.contains("sequence") && action.at("group") == "dp_shard";
      }
      EXPECT_TRUE(has_forward);
      EXPECT_TRUE(has_call);
    }
  }

  void expect_no_orphans() {
    for (const auto& [rank, pid] : ranks_)
      EXPECT_TRUE(wait_until([&] { return !is_alive(pid); })) << "rank " << rank << " lives on";
  }

  Workspace work_;
  std::map<int, pid_t> ranks_;
  std::chrono::steady_clock::time_point begin_;
};

TEST_F(RanksLiveness, AKilledRankIsNamedByAllOthersWithWhatItDidLast) {
  const ProcessResult result = lose(2, SIGKILL, {.replicate = 2, .shard = 2, .level = 3});
  EXPECT_EQ(result.code, kKilled) << result.err;  // mpirun's; `hone launch` makes it 76
  expect_named_by_all_others(result, 2, "was killed");
  expect_flight_records(2);
  expect_no_orphans();
}

TEST_F(RanksLiveness, AStoppedRankIsNamedWithinTheTimeoutAndNothingIsLeftOfTheRun) {
  const ProcessResult result = lose(0, SIGSTOP, {.shard = 2, .tp = 2});
  const auto seconds = std::chrono::steady_clock::now() - begin_;
  EXPECT_EQ(result.code, kPeerLost) << result.err;
  expect_named_by_all_others(result, 0, "gave no sign of life");
  EXPECT_LT(seconds, std::chrono::seconds(4 + 8));  // mpirun's own time to end the stopped one
  expect_flight_records(0);
  expect_no_orphans();
}

TEST_F(RanksLiveness, UnderPlainMpirunTheOthersHaveTheTimeToo) {
  const ProcessResult result = mpirun(work_, 4, Sizes{.replicate = 4}.arguments(), [&](pid_t pid) {
    const fs::path metrics = work_ / "out" / "metrics.jsonl";
    ASSERT_TRUE(wait_until([&] { return timeless_metrics(metrics).size() > 3; }));
    ranks_ = rank_processes(pid);
    ::kill(ranks_.at(1), SIGKILL);
  });
  EXPECT_EQ(result.code, kKilled) << result.err;
  expect_named_by_all_others(result, 1, "was killed");
  expect_no_orphans();
}

TEST_F(RanksLiveness, ARankKilledWhileTheRunIsPreparedIsNamedToo) {
  const ProcessResult result = launch(work_, 4, Sizes{.shard = 4}.arguments(), [&](pid_t pid) {
    ASSERT_TRUE(wait_until([&] { return fs::exists(work_ / "out"); }));
    ranks_ = rank_processes(pid);
    ::kill(ranks_.at(3), SIGKILL);
  });
  EXPECT_EQ(result.code, kKilled) << result.err;
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(times(result.err, "FATAL 76 rank=" + std::to_string(rank) + " "), 1u) << result.err;
  }
  EXPECT_GE(times(result.err, "rank 3 on "), 3u) << result.err;
  expect_no_orphans();
}

// Rank 0 alone writes this file, so the others know nothing of it.
TEST_F(RanksLiveness, AnErrorOfOneRankAloneIsToldToTheOthersWhichEndWithItsCode) {
  std::vector<RankGroup> groups(3, {.arguments = Sizes{.shard = 3}.arguments()});
  for (RankGroup& group : groups)
    group.arguments.insert(group.arguments.end(), {"--set", "global_batch_size=3"});
  groups[0].environment = {std::string("LD_PRELOAD=") + kFaultShim,
                           "HONE_FAULT=write:5:ENOSPC:metrics.jsonl"};
  const ProcessResult result = mpirun(work_, groups);
  expect_failure(result, 74, {"FATAL 74 rank=0 ", "metrics.jsonl"});
  for (const int rank : {1, 2}) {
    const std::string fatal = "FATAL 74 rank=" + std::to_string(rank) + " host=";
    EXPECT_EQ(times(result.err, fatal), 1u) << result.err;
  }
  EXPECT_GE(times(result.err, "what=rank 0 on "), 2u) << result.err;
  for (const int rank : {0, 1, 2}) {
    const core::Json record =
        core::read_json_file(work_ / ("out/flight-record/rank-" + std::to_string(rank) + ".json"));
    EXPECT_NE(record.at("reason").get<std::string>().find("metrics.jsonl"), std::string::npos);
  }
}

TEST_F(RanksLiveness, ARankThatNeverComesIsNotWaitedForWithoutEnd) {
  const ProcessResult result = mpirun(
      work_, {{.arguments = {"train", "recipe.yaml"}, .environment = {"HONE_START_TIMEOUT=2"}},
              {.arguments = {"45"}, .program = "/bin/sleep"}});
  expect_failure(result, kPeerLost, {"FATAL 76 rank=0 host=", "have come together in 2 s"});
  EXPECT_FALSE(fs::exists(work_ / "out"));
}

TEST_F(RanksLiveness, APortInUseAndAnInterfaceThatIsNotThereAreRefused) {
  const parallel::Listener taken({.one_machine = true});
  // The second rank's, which is one above.
  const std::string port = std::to_string(taken.endpoint().port - 1);
  const ProcessResult first =
      mpirun(work_, 2, {"train", "recipe.yaml", "--set", "comm_port=" + port});
  expect_failure(first, 78, {"comm_port", "in use", std::to_string(taken.endpoint().port)});
  EXPECT_EQ(times(first.err, "FATAL"), 1u) << first.err;
  const ProcessResult second =
      mpirun(work_, 2, {"train", "recipe.yaml", "--set", "comm_interface=ib9"});
  expect_failure(second, 78, {"comm_interface", "ib9", "lo (127.0.0.1)"});
  EXPECT_EQ(times(second.err, "FATAL"), 1u) << second.err;
  EXPECT_FALSE(fs::exists(work_ / "out"));
}

TEST_F(RanksLiveness, ADiskTooSmallForACheckpointIsFoundBeforeTheFirstStep) {
  for (const int ranks : {1, 2}) {
    Workspace work;
    work.write_recipe(for_ranks());
    const std::vector<RankGroup> groups = {
        {.ranks = ranks,
         .arguments = {"train", "recipe.yaml"},
         .environment = {std::string("LD_PRELOAD=") + kFaultShim, "HONE_FREE_BYTES=4096"}}};
    const ProcessResult result = mpirun(work, groups);
    expect_failure(result, 74, {"no room for a checkpoint", "4.1 kB free", "final model"});
    EXPECT_EQ(times(result.err, "FATAL"), 1u) << result.err;
    EXPECT_FALSE(fs::exists(work / "out" / "metrics.jsonl"));
  }
}

TEST_F(RanksLiveness, AStartSaysWhatTheLinksCarryAndHowFarClocksAreApart) {
  Workspace work;
  work.write_recipe(for_ranks());
  const ProcessResult result = train_on(work, {.shard = 2, .tp = 2});
  ASSERT_EQ(result.code, 0) << result.err;
  for (const char* text :
       {"4 ranks on 1 machine: dp_shard ", "tp ", "B/s", "clocks within", "a checkpoint takes"})
    EXPECT_EQ(times(result.err, text) >= 1, true) << text << "\n" << result.err;
}

}  // namespace
}  // namespace hone::test
