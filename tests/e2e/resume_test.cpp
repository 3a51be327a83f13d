// A run that was stopped and resumed is the run that was not.
#include <csignal>

#include "tests/e2e/workspace.h"

namespace hone::test {
namespace {

const char* kAdapterFile = "adapter_model.safetensors";

void expect_same_run(const Workspace& a, const Workspace& b, const char* weights = kAdapterFile) {
  EXPECT_EQ(slurp(a / "out" / weights), slurp(b / "out" / weights));
  EXPECT_EQ(timeless_metrics(a / "out" / "metrics.jsonl"),
            timeless_metrics(b / "out" / "metrics.jsonl"));
  for (const auto& entry : fs::directory_iterator(a / "out" / "checkpoint-8" / "state")) {
    if (entry.path().extension() != ".safetensors") continue;
    EXPECT_EQ(slurp(entry.path()),
              slurp(b / "out" / "checkpoint-8" / "state" / entry.path().filename()))
        << entry.path().filename();
  }
}

TEST(Resume, FourAndFourStepsEqualEightBitwise) {
  for (const char* adapter : {"{type: lora, r: 4, lora_alpha: 8, lora_dropout: 0.1}", ""}) {
    Workspace whole, halves;
    const std::map<std::string, std::string> recipe = {{"adapter", adapter},
                                                       {"scheduler_steps", "8"}};
    whole.write_recipe(recipe);
    halves.write_recipe(recipe);
    ASSERT_EQ(whole.train().code, 0);
    ASSERT_EQ(halves.train({"--set", "max_steps=4"}).code, 0);
    // The first half's final evaluation is at a step that the whole run evaluates too.
    const ProcessResult second = halves.train({"--resume"});
    ASSERT_EQ(second.code, 0) << second.err;
    expect_same_run(whole, halves, *adapter ? kAdapterFile : "model.safetensors");
  }
}

TEST(Resume, SignalsSaveACheckpointAndExit75) {
  Workspace whole;
  whole.write_recipe({{"max_steps", "400"}, {"save_steps", "400"}, {"eval_steps", "400"}});
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) {
    Workspace work;
    work.write_recipe({{"max_steps", "400"}, {"save_steps", "400"}, {"eval_steps", "400"}});
    const fs::path metrics = work / "out" / "metrics.jsonl";
    const ProcessResult result = work.train({}, {}, [&](pid_t pid) {
      ASSERT_TRUE(wait_until([&] { return timeless_metrics(metrics).size() > 3; }));
      ::kill(pid, signal);
    });
    EXPECT_EQ(result.code, 75) << result.err;
    int num_checkpoints = 0;
    for (const auto& entry : fs::directory_iterator(work / "out")) {
      num_checkpoints += entry.path().filename().string().starts_with("checkpoint-");
    }
    EXPECT_EQ(num_checkpoints, 1);
  }
}

TEST(Resume, AfterASignalTheRunEndsAsIfNothingHappened) {
  Workspace whole, stopped;
  for (Workspace* w : {&whole, &stopped})
    w->write_recipe({{"max_steps", "60"}, {"save_steps", "1000"}, {"eval_steps", "30"}});
  ASSERT_EQ(whole.train().code, 0);
  const fs::path metrics = stopped / "out" / "metrics.jsonl";
  ASSERT_EQ(
      stopped
          .train({}, {},
                 [&](pid_t pid) {
                   ASSERT_TRUE(wait_until([&] { return timeless_metrics(metrics).size() > 3; }));
                   ::kill(pid, SIGTERM);
                 })
          .code,
      75);
  const ProcessResult second = stopped.train({"--resume"});
  ASSERT_EQ(second.code, 0) << second.err;
  EXPECT_EQ(slurp(whole / "out" / kAdapterFile), slurp(stopped / "out" / kAdapterFile));
  EXPECT_EQ(timeless_metrics(whole / "out" / "metrics.jsonl"), timeless_metrics(metrics));
}

TEST(Resume, SecondInterruptExits130AtOnce) {
  Workspace work;
  work.write_recipe({{"max_steps", "100000"}, {"save_steps", "0"}, {"eval_steps", "0"}});
  const fs::path metrics = work / "out" / "metrics.jsonl";
  // Slow saves would hide the second signal's effect, so both are sent while a step is running.
  const ProcessResult result = work.train({}, {}, [&](pid_t pid) {
    ASSERT_TRUE(wait_until([&] { return timeless_metrics(metrics).size() > 3; }));
    ::kill(pid, SIGSTOP);
    ::kill(pid, SIGINT);
    ::kill(pid, SIGCONT);
    ::kill(pid, SIGINT);
  });
  // Two pending interrupts may merge into one while the process is stopped: then it saves and says
  // so.
  EXPECT_TRUE(result.code == 130 || result.code == 75) << result.code << result.err;
}

TEST(Resume, KillAtAnyMomentLosesNothingOlderThanTheLastCheckpoint) {
  Workspace whole;
  const std::map<std::string, std::string> recipe = {
      {"max_steps", "40"}, {"save_steps", "2"}, {"eval_steps", "40"}, {"save_total_limit", "3"}};
  whole.write_recipe(recipe);
  ASSERT_EQ(whole.train().code, 0);
  Workspace killed;
  killed.write_recipe(recipe);
  int num_kills = 0;
  for (int attempt = 0; attempt < 40; ++attempt) {
    const ProcessResult result = killed.train({"--resume"}, {}, [&](pid_t pid) {
      // Longer each time, so that some attempt ends; each lands at another point of a step or of a
      // save.
      std::this_thread::sleep_for(std::chrono::milliseconds(300 + 67 * attempt));
      ::kill(pid, SIGKILL);
    });
    if (result.code == 0) break;
    ++num_kills;
  }
  EXPECT_GT(num_kills, 0);
  const ProcessResult last = killed.train({"--resume"});
  ASSERT_EQ(last.code, 0) << last.err;
  EXPECT_EQ(slurp(whole / "out" / kAdapterFile), slurp(killed / "out" / kAdapterFile));
  EXPECT_EQ(timeless_metrics(whole / "out" / "metrics.jsonl"),
            timeless_metrics(killed / "out" / "metrics.jsonl"));
}

TEST(Resume, DamagedNewestCheckpointIsNamedAndSkipped) {
  Workspace work;
  ASSERT_EQ(work.train().code, 0);
  const fs::path file = work / "out" / "checkpoint-8" / kAdapterFile;
  std::string bytes = slurp(file);
  bytes[bytes.size() / 2] ^= 1;
  write_text(file, bytes);
  const ProcessResult result = work.train({"--resume"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("checkpoint-8"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find(kAdapterFile), std::string::npos) << result.err;
}

TEST(Resume, WithoutAnyCheckpointStartsFreshWithAWarning) {
  Workspace work;
  const ProcessResult result = work.train({"--resume"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("no checkpoint"), std::string::npos) << result.err;
}

TEST(Resume, NamedCheckpointMustExist) {
  Workspace work;
  expect_failure(work.train({"--resume", "out/checkpoint-4"}), 66, {"out/checkpoint-4"});
}

TEST(Resume, NonEmptyOutputIsRefusedUnlessToldOtherwise) {
  Workspace work;
  ASSERT_EQ(work.train().code, 0);
  expect_failure(work.train(), 73, {"out", "--resume", "--overwrite"});
  EXPECT_EQ(work.train({"--overwrite"}).code, 0);
}

TEST(Resume, AnotherLoraRankIsRefusedWithATableOfDifferences) {
  Workspace work;
  ASSERT_EQ(work.train().code, 0);
  expect_failure(work.train({"--resume", "--set", "adapter.r=8", "--set", "max_steps=10"}), 78,
                 {"adapter", "4", "8"});
}

TEST(Resume, AnotherDatasetIsRefused) {
  Workspace work;
  ASSERT_EQ(work.train().code, 0);
  std::string rows = slurp(work / "train.jsonl");
  write_text(work / "train.jsonl", rows.substr(rows.find('\n') + 1));
  expect_failure(work.train({"--resume", "--set", "max_steps=10"}), 78, {"data"});
}

TEST(Resume, AnotherModelIsRefused) {
  Workspace work;
  ASSERT_EQ(work.train().code, 0);
  const fs::path file = work / "model" / "model.safetensors";
  std::string bytes = slurp(file);
  bytes[bytes.size() - 2] ^= 1;
  write_text(file, bytes);
  expect_failure(work.train({"--resume", "--set", "max_steps=10"}), 78, {"model"});
}

}  // namespace
}  // namespace hone::test
