#include "trainer/publisher.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <thread>

#include "tests/trainer/small_run.h"

namespace hone::trainer {
namespace {

TEST(Publisher, FailureIsCountedAndTheNextCheckpointPushed) {
  std::vector<std::string> tried;
  Publisher publisher(
      [&](const fs::path& checkpoint) {
        tried.push_back(checkpoint.string());
        if (tried.size() == 1)
          core::fail(core::ErrorKind::kUnavailable, {.what = "the hub is away"});
      },
      nullptr);
  publisher.offer("checkpoint-2");
  publisher.wait();
  publisher.offer("checkpoint-4");
  publisher.wait();
  EXPECT_EQ(tried, (std::vector<std::string>{"checkpoint-2", "checkpoint-4"}));
  EXPECT_EQ(publisher.json().at("pushed"), 1);
  EXPECT_EQ(publisher.json().at("failed"), 1);
  EXPECT_NE(publisher.json().at("last_error").get<std::string>().find("the hub is away"),
            std::string::npos);
}

TEST(Publisher, CheckpointSavedDuringAPushIsLeftOut) {
  std::promise<void> go_on;
  Publisher publisher([&](const fs::path&) { go_on.get_future().wait(); }, nullptr);
  publisher.offer("checkpoint-2");
  EXPECT_EQ(*publisher.in_flight(), "checkpoint-2");
  publisher.offer("checkpoint-4");
  go_on.set_value();
  publisher.wait();
  EXPECT_FALSE(publisher.in_flight());
  EXPECT_EQ(publisher.json().at("pushed"), 1);
  EXPECT_EQ(publisher.json().at("left_out"), 1);
}

TEST(PublishingRun, GoesOnWhenEveryPushFailsAndSaysSoInRunJson) {
  SmallRun run(true);
  run.options.save_steps = 2;
  run.publish = [](const fs::path&) {
    core::fail(core::ErrorKind::kUnavailable, {.what = "the hub is away"});
  };
  EXPECT_EQ(run.train().step, 6);
  const Json pushes = run.run_json().at("checkpoint_pushes");
  EXPECT_EQ(pushes.at("pushed"), 0);
  EXPECT_GE(pushes.at("failed").get<int>(), 1);
  // The last checkpoint is what the push after the run sends.
  EXPECT_EQ(pushes.at("failed").get<int>() + pushes.at("left_out").get<int>(), 2);
}

TEST(PublishingRun, CheckpointStaysWhileItIsPushedWhateverTheLimit) {
  SmallRun run(true);
  run.options.save_steps = 1;
  run.options.save_total_limit = 1;
  std::string problem = "never called";
  run.publish = [&](const fs::path& checkpoint) {
    if (checkpoint.filename() != "checkpoint-1") return;
    for (int i = 0; i < 2000 && !fs::exists(run.out / "checkpoint-4"); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    problem.clear();
    if (!fs::exists(run.out / "checkpoint-4")) problem = "the run waits for the push";
    if (!fs::exists(checkpoint / kManifestName)) problem = "deleted while it was pushed";
  };
  run.train();
  EXPECT_EQ(problem, "");
  EXPECT_TRUE(fs::exists(run.out / "checkpoint-6"));
}

}  // namespace
}  // namespace hone::trainer
