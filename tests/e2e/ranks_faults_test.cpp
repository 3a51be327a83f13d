// Saves of several ranks that fail on one: the disk is full there, or the rank dies.
#include <csignal>

#include "tests/e2e/ranks.h"

namespace hone::test {
namespace {

constexpr int kKilled = 128 + SIGKILL;

// Of two ranks, with this fault on one.
ProcessResult train_with_fault(const Workspace& work, int faulty, const std::string& spec) {
  std::vector<RankGroup> groups(2, {.arguments = Sizes{.shard = 2}.arguments()});
  groups[static_cast<size_t>(faulty)].environment = {std::string("LD_PRELOAD=") + kFaultShim,
                                                     "HONE_FAULT=" + spec};
  return mpirun(work, groups);
}

bool has_temporaries(const Workspace& work) {
  for (const auto& entry : fs::recursive_directory_iterator(work / "out")) {
    if (entry.path().string().find(".tmp") != std::string::npos) return true;
  }
  return false;
}

void expect_first_checkpoint_goes_on(const Workspace& work, const Workspace& whole) {
  EXPECT_TRUE(fs::exists(work / "out" / "checkpoint-2" / "manifest.json"));
  EXPECT_FALSE(fs::exists(work / "out" / "checkpoint-4"));
  const ProcessResult again = train_on(work, {.replicate = 2}, {"--resume"});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_FALSE(has_temporaries(work));
  expect_same_bytes(whole, work, 4);
}

class RanksFaults : public testing::Test {
 protected:
  RanksFaults() {
    whole_.write_recipe(recipe_);
    EXPECT_EQ(whole_.train().code, 0);
  }

  const std::map<std::string, std::string> recipe_ = for_ranks({{"strict", "true"}});
  Workspace whole_;
};

TEST_F(RanksFaults, FullDiskOnOneRankIsOneErrorOfAllAndKeepsTheOlderCheckpoint) {
  const std::vector<std::pair<int, std::string>> faults = {
      {1, "write:0:ENOSPC"}, {1, "fsync:0:EIO"}, {0, "write:3:ENOSPC"}};
  for (const auto& [faulty, fault] : faults) {
    SCOPED_TRACE(fault + " on rank " + std::to_string(faulty));
    Workspace work;
    work.write_recipe(recipe_);
    const ProcessResult result = train_with_fault(work, faulty, fault + ":checkpoint-4");
    expect_failure(result, 74, {"rank " + std::to_string(faulty), "checkpoint-4"});
    EXPECT_EQ(times(result.err, "FATAL"), 1u) << result.err;
    EXPECT_FALSE(has_temporaries(work));
    expect_first_checkpoint_goes_on(work, whole_);
  }
}

TEST_F(RanksFaults, DeathOfOneRankInsideASaveEndsAllAndKeepsTheOlderCheckpoint) {
  const std::vector<std::pair<int, std::string>> faults = {{1, "write:0"}, {0, "rename:0"}};
  for (const auto& [faulty, call] : faults) {
    SCOPED_TRACE(call + " on rank " + std::to_string(faulty));
    Workspace work;
    work.write_recipe(recipe_);
    const ProcessResult result = train_with_fault(work, faulty, call + ":KILL:checkpoint-4");
    EXPECT_EQ(result.code, kKilled) << result.err;
    expect_first_checkpoint_goes_on(work, whole_);
  }
}

TEST_F(RanksFaults, DeathOfOneRankInAStepEndsAll) {
  Workspace work;
  work.write_recipe(for_ranks({{"max_steps", "100000"}, {"save_steps", "0"}, {"eval_steps", "0"}}));
  const ProcessResult result = train_on(work, {.shard = 2}, {}, [&](pid_t pid) {
    const fs::path metrics = work / "out" / "metrics.jsonl";
    ASSERT_TRUE(wait_until([&] { return timeless_metrics(metrics).size() > 3; }));
    ::kill(rank_processes(pid).at(1), SIGKILL);
  });
  EXPECT_EQ(result.code, kKilled) << result.err;
}

}  // namespace
}  // namespace hone::test
