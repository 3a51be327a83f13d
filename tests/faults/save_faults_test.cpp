// Saves that fail: the disk is full, read-only or broken, or the process dies inside the save.
#include "tests/e2e/workspace.h"
#include "tests/support/paths.h"

namespace hone::test {
namespace {

Environment fault(const std::string& spec) {
  return {{"LD_PRELOAD", test::kFaultShim}, {"HONE_FAULT", spec}};
}

void expect_first_checkpoint_survives(const Workspace& work) {
  EXPECT_TRUE(fs::exists(work / "out" / "checkpoint-4" / "manifest.json"));
  EXPECT_FALSE(fs::exists(work / "out" / "checkpoint-8"));
  const ProcessResult again = work.train({"--resume"});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_TRUE(fs::exists(work / "out" / "checkpoint-8" / "manifest.json"));
  for (const auto& entry : fs::recursive_directory_iterator(work / "out")) {
    EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos)
        << "left behind: " << entry.path();
  }
}

TEST(SaveFaults, FullDiskExits74AndKeepsTheOlderCheckpoint) {
  Workspace work;
  expect_failure(work.train({}, fault("write:0:ENOSPC:checkpoint-8")), 74,
                 {"No space left", "checkpoint-8"});
  expect_first_checkpoint_survives(work);
}

TEST(SaveFaults, DiskErrorOnSyncExits74) {
  Workspace work;
  expect_failure(work.train({}, fault("fsync:1:EIO:checkpoint-8")), 74, {"checkpoint-8"});
  expect_first_checkpoint_survives(work);
}

TEST(SaveFaults, FailingRenameExits74) {
  Workspace work;
  expect_failure(work.train({}, fault("rename:0:EIO:checkpoint-8")), 74, {"checkpoint-8"});
  expect_first_checkpoint_survives(work);
}

TEST(SaveFaults, ReadOnlyOutputExits73BeforeTraining) {
  Workspace work;
  expect_failure(work.train({}, fault("open:0:EROFS:out")), 73, {"out"});
}

TEST(SaveFaults, DyingInsideASaveLosesNothing) {
  for (const char* call : {"write:0", "write:3", "fsync:0", "fsync:2", "rename:0"}) {
    Workspace work;
    const ProcessResult result = work.train({}, fault(std::string(call) + ":KILL:checkpoint-8"));
    EXPECT_EQ(result.code, 137) << call << result.err;
    expect_first_checkpoint_survives(work);
  }
}

}  // namespace
}  // namespace hone::test
