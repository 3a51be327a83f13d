// Runs to their end, with a small shell program in place of hone.
#include "launch/supervise.h"

#include <gtest/gtest.h>

#include "launch/preflight.h"
#include "launch/process.h"
#include "tests/support/process.h"

namespace hone::launch {
namespace {

namespace fs = std::filesystem;

// A program that keeps its words and does what `body` says; $n is how often it has run.
class Supervised {
 public:
  explicit Supervised(const std::string& body, const std::string& cluster = "") {
    test::write_text(folder_ / "program",
                     "#!/bin/bash\nread -r n 2>/dev/null < count; n=$((n + 1)); echo $n > count\n"
                     "echo \"$*\" >> words\n" +
                         body);
    fs::permissions(folder_ / "program", fs::perms::owner_all);
    cluster_ = parse_cluster("launcher: mpirun\n" + cluster, "c.yaml");
    job_.program = (folder_ / "program").string();
    job_.recipe = "r.yaml";
    job_.output_dir = folder_ / "out";
    job_.working_folder = folder_.path();
    job_.points = sweep_points({}, job_.output_dir);
  }

  int run() {
    RunRecord record;
    record.log = log_file(job_.output_dir).string();
    record.pid = ::getpid();
    return supervise({.cluster = cluster_,
                      .job = job_,
                      .forwarded = {},
                      .on_change = [&](const RunRecord& now) { last_ = now; }},
                     std::move(record));
  }

  Job& job() { return job_; }
  const RunRecord& last() const { return last_; }
  std::string words() const { return test::slurp(folder_ / "words"); }
  std::string log() const { return test::slurp(log_file(job_.output_dir)); }
  fs::path folder() const { return folder_.path(); }

 private:
  test::TemporaryFolder folder_;
  Cluster cluster_;
  Job job_;
  RunRecord last_;
};

TEST(Supervise, OutputOfBothKindsIsAppendedToTheLog) {
  Supervised s("echo said; echo wrong >&2; exit 3\n");
  EXPECT_EQ(s.run(), 3);
  EXPECT_EQ(s.run(), 3);
  EXPECT_EQ(s.last().exit_code, 3);
  for (const char* text : {"said\n", "wrong\n"}) {
    const size_t first = s.log().find(text);
    ASSERT_NE(first, std::string::npos) << s.log();
    EXPECT_NE(s.log().find(text, first + 1), std::string::npos) << s.log();
  }
}

// `hone launch` finds this mpirun first; it becomes the program.
class OwnMpirun {
 public:
  explicit OwnMpirun(const fs::path& folder) {
    test::write_text(folder / "mpirun",
                     "#!/bin/bash\nuntil [[ $1 == */program ]]; do shift; done\nexec \"$@\"\n");
    fs::permissions(folder / "mpirun", fs::perms::owner_all);
    ::setenv("PATH", (folder.string() + ":" + path_).c_str(), 1);
  }
  ~OwnMpirun() { ::setenv("PATH", path_.c_str(), 1); }
  OwnMpirun(const OwnMpirun&) = delete;
  OwnMpirun& operator=(const OwnMpirun&) = delete;

 private:
  std::string path_ = std::getenv("PATH");
};

constexpr const char* kTwoRanks = "ranks_per_node: 2\noversubscribe: true\nsurvivor_seconds: 1\n";
constexpr auto kPatience = std::chrono::seconds(2 * 1 + 10);

TEST(Supervise, AnMpirunThatDoesNotEndAfterItsRanksIsEndedWithTheirCode) {
  Supervised s("echo 'FATAL 74 rank=0 host=a' >&2; setsid sleep 100 & echo $! > below; wait\n",
               kTwoRanks);
  const OwnMpirun mpirun(s.folder());
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(s.run(), 74);
  const auto seconds = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(seconds, kPatience);
  EXPECT_LT(seconds, 2 * kPatience);
  EXPECT_NE(s.log().find("a host may be cut off"), std::string::npos) << s.log();
  const pid_t below = std::stoi(test::slurp(s.folder() / "below"));
  EXPECT_FALSE(process_lives(below, process_start(below))) << "what mpirun started lives on";
}

TEST(Supervise, EveryRankThatSaysWhyItEndsMakesMpirunsTimeBeginAgain) {
  Supervised s("for r in 0 1; do echo \"FATAL 76 rank=$r host=a\"; sleep 7; done; exit 79\n",
               kTwoRanks);
  const OwnMpirun mpirun(s.folder());
  EXPECT_EQ(s.run(), 79);
}

TEST(Supervise, GoesOnAfter75And76AsOftenAsItMay) {
  Supervised s("[ $n = 1 ] && exit 75; [ $n = 2 ] && exit 76; exit 0\n", "restart: {max: 2}\n");
  EXPECT_EQ(s.run(), 0);
  EXPECT_EQ(s.words(), "train r.yaml\ntrain r.yaml --resume\ntrain r.yaml --resume\n");
  EXPECT_EQ(s.last().restarts, 2);
  Supervised capped("exit 76\n", "restart: {max: 1}\n");
  EXPECT_EQ(capped.run(), 76);
  EXPECT_EQ(capped.last().restarts, 1);
  Supervised none("exit 75\n");
  EXPECT_EQ(none.run(), 75);
  EXPECT_EQ(none.last().restarts, 0);
}

TEST(Supervise, OtherFailuresAreNotRepeated) {
  Supervised s("exit 78\n", "restart: {max: 5}\n");
  EXPECT_EQ(s.run(), 78);
  EXPECT_EQ(s.last().restarts, 0);
}

TEST(Supervise, ARankThatASignalEndedIsALostOne) {
  Supervised s("[ $n = 1 ] && kill -9 $$; exit 0\n", "restart: {max: 1}\n");
  EXPECT_EQ(s.run(), 0);
  EXPECT_EQ(s.last().restarts, 1);
  EXPECT_EQ(run_exit_code(137, false, true), 76);
  EXPECT_EQ(run_exit_code(137, true, true), 137);
  EXPECT_EQ(run_exit_code(1, false, true), 69);
  EXPECT_EQ(run_exit_code(127, false, false), 69);
  EXPECT_EQ(run_exit_code(79, false, true), 79);
}

TEST(Supervise, AnOverwritingRunIsResumedOnlyFromCheckpointsOfItsOwn) {
  Supervised s(
      "[ $n = 1 ] && exit 75; [ $n = 2 ] && { mkdir -p out/checkpoint-5; exit 75; }; exit 0\n",
      "restart: {max: 3}\n");
  fs::create_directories(s.job().output_dir / "checkpoint-4");
  fs::last_write_time(s.job().output_dir / "checkpoint-4",
                      fs::file_time_type::clock::now() - std::chrono::hours(1));
  s.job().start = Start::kOverwrite;
  EXPECT_EQ(s.run(), 0);
  EXPECT_EQ(s.words(),
            "train r.yaml --overwrite\ntrain r.yaml --overwrite\ntrain r.yaml --resume\n");
}

TEST(Supervise, ASweepGoesOnAfterAFailure) {
  Supervised s("[ $n = 1 ] && exit 79; exit 0\n");
  s.job().points = sweep_points({"seed=1,2"}, s.job().output_dir);
  EXPECT_EQ(s.run(), 79);
  EXPECT_EQ(s.words(), "train r.yaml --set seed=1 --set output_dir=" +
                           (s.job().output_dir / "seed-1").string() +
                           "\ntrain r.yaml --set seed=2 --set output_dir=" +
                           (s.job().output_dir / "seed-2").string() + "\n");
}

// A process of its own takes the signals.
TEST(Supervise, TheFirstSignalAsksForACheckpointAndTheSecondEndsTheRun) {
  Supervised s(
      "trap 'echo asked >> words; [ -e deaf ] || exit 75' USR1; trap 'exit 1' TERM; touch ready\n"
      "while :; do sleep 0.05; done\n",
      "restart: {max: 5}\n");
  for (const bool is_deaf : {false, true}) {
    fs::remove(s.folder() / "ready");
    if (is_deaf) test::write_text(s.folder() / "deaf", "");
    const pid_t child = ::fork();
    if (child == 0) ::_exit(s.run());
    ASSERT_TRUE(test::wait_until([&] { return fs::exists(s.folder() / "ready"); }));
    ::kill(child, SIGTERM);
    if (is_deaf) {
      ASSERT_TRUE(test::wait_until(
          [&] { return s.words().find("asked\ntrain r.yaml\nasked") != std::string::npos; }));
      ::kill(child, SIGTERM);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(exit_code_of(status), is_deaf ? 1 : 75) << s.log();
  }
}

TEST(Supervise, AProgramThatCanNotBeStartedIsSaid) {
  Supervised s("");
  s.job().program = "/nowhere/hone";
  EXPECT_EQ(s.run(), 69);
  EXPECT_NE(s.log().find("can't start /nowhere/hone"), std::string::npos) << s.log();
}

}  // namespace
}  // namespace hone::launch
