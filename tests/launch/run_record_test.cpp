#include "launch/run_record.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/environment.h"
#include "core/error.h"
#include "launch/job.h"
#include "launch/process.h"
#include "tests/support/process.h"

namespace hone::launch {
namespace {

TEST(RunRecord, ComesBackAsItWasWritten) {
  test::TemporaryFolder folder;
  EXPECT_FALSE(read_record(folder.path()));
  RunRecord record{.launcher = Launcher::kSlurm, .job_id = "12", .log = "l", .ranks = 4};
  record.points = {"/a", "/b"};
  record.exit_code = 75;
  write_record(folder.path(), record);
  const auto read = read_record(folder.path());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->launcher, Launcher::kSlurm);
  EXPECT_EQ(read->job_id, "12");
  EXPECT_EQ(read->points, record.points);
  EXPECT_EQ(read->exit_code, 75);
  EXPECT_EQ(read->ranks, 4);
}

TEST(RunRecord, OneThatMakesNoSenseIsAnError) {
  test::TemporaryFolder folder;
  for (const char* text : {"{}", "{\"version\": 2}", "{\"version\": 1, \"launcher\": 3}", "x"}) {
    test::write_text(launch_folder(folder.path()) / "record.json", text);
    try {
      read_record(folder.path());
      FAIL() << text;
    } catch (const core::Error& e) {
      EXPECT_EQ(e.exit_code(), 65) << text;
    }
  }
}

TEST(RunRecord, AnotherProcessOfTheSameNumberIsNotTheRun) {
  RunRecord record{
      .pid = ::getpid(), .pid_start = process_start(::getpid()), .host = core::host_name()};
  EXPECT_TRUE(runs_here(record));
  record.pid_start += 1;
  EXPECT_FALSE(runs_here(record));
  record.pid_start -= 1;
  record.host = "elsewhere";
  EXPECT_FALSE(runs_here(record));
}

TEST(Process, AnswersAndEndsAreRead) {
  const Captured captured = run_captured({"bash", "-c", "echo out; echo err >&2; exit 7"});
  EXPECT_EQ(captured.code, 7);
  EXPECT_EQ(captured.out, "out\n");
  EXPECT_EQ(captured.err, "err\n");
  EXPECT_EQ(run_captured({"/nowhere/program"}).code, kNoSuchProgram);
  EXPECT_EQ(run_captured({"bash", "-c", "kill -9 $$"}).code, 137);
  EXPECT_TRUE(is_on_path("bash"));
  EXPECT_FALSE(is_on_path("no-such-program"));
}

TEST(Process, MuchOutputDoesNotBlock) {
  const Captured captured =
      run_captured({"bash", "-c", "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2"});
  EXPECT_EQ(captured.out.size(), 300000u);
  EXPECT_EQ(captured.err.size(), 300000u);
}

}  // namespace
}  // namespace hone::launch
