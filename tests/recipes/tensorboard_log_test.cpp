#include "recipes/tensorboard_log.h"

#include <algorithm>
#include <fstream>

#include "tests/recipes/support.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::Json;

TEST(ScalarsOfRow, HaveTheTagsOfTheHuggingFaceTrainer) {
  const auto scalars = scalars_of_row(
      Json::parse(R"({"step":3,"loss":2.5,"datasets":{"chat":{"loss":2.0},"code":{"loss":3.0}},
                      "note":"x","none":null})"));
  ASSERT_EQ(scalars.size(), 3u);
  EXPECT_EQ(scalars[0].tag, "train/loss");
  EXPECT_EQ(scalars[1].tag, "train/loss/chat");
  EXPECT_EQ(scalars[2].tag, "train/loss/code");
  EXPECT_EQ(scalars[2].value, 3.0);
  const auto eval = scalars_of_row(
      Json::parse(R"({"step":3,"eval_loss":1.5,"eval_datasets":{"a/b":{"loss":1.0}}})"));
  ASSERT_EQ(eval.size(), 2u);
  EXPECT_EQ(eval[0].tag, "eval/loss");
  EXPECT_EQ(eval[1].tag, "eval/loss/a/b");
}

TEST(HyperParameters, AreTheRecipesValuesWithNestedNames) {
  const auto parameters = hyper_parameters(
      Json::parse(R"({"learning_rate":0.5,"packing":true,"adapter":{"r":8,"path":null},
                      "datasets":[{"path":"a"}],"recipe":"sft"})"));
  ASSERT_EQ(parameters.size(), 5u);
  EXPECT_EQ(parameters[1].first, "packing");
  EXPECT_EQ(std::get<bool>(parameters[1].second), true);
  EXPECT_EQ(parameters[2].first, "adapter.r");
  EXPECT_EQ(std::get<double>(parameters[2].second), 8.0);
  EXPECT_EQ(std::get<std::string>(parameters[3].second), R"([{"path":"a"}])");
}

class TensorBoardLogTest : public testing::Test {
 protected:
  void append(const std::string& name, const std::string& row) const {
    std::ofstream(folder_ / name, std::ios::app) << row << "\n";
  }
  void train_row(int64_t step, double loss) const {
    append("metrics.jsonl", Json{{"step", step}, {"loss", loss}}.dump());
  }
  std::vector<fs::path> files(const fs::path& folder) const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder)) found.push_back(entry.path());
    std::sort(found.begin(), found.end());
    return found;
  }
  std::vector<formats::TensorBoardEvent> events(const fs::path& file) const {
    auto all = formats::read_event_file(file);
    all.erase(all.begin(), all.begin() + std::min<ptrdiff_t>(3, std::ssize(all)));  // the heading
    return all;
  }
  static std::string scalar(int64_t step, double loss) {
    return formats::scalars_content(step, {{"train/loss", loss}});
  }

  test::TemporaryFolder folder_;
  const fs::path logs_ = folder_ / "tensorboard";
};

TEST_F(TensorBoardLogTest, FollowsTheFilesOfTheRun) {
  TensorBoardLog log(folder_.path(), logs_, Json::object());
  train_row(1, 2.0);
  log.follow();
  ASSERT_EQ(files(logs_).size(), 1u);
  const fs::path file = files(logs_)[0];
  ASSERT_EQ(events(file).size(), 1u);
  append("metrics.jsonl", R"({"step":2,"lo)");  // torn
  append("samples.jsonl", R"({"step":1,"prompt":"p","text":"t","num_tokens":1})");
  log.follow();
  log.follow();
  ASSERT_EQ(events(file).size(), 2u);
  EXPECT_EQ(events(file)[0].content, scalar(1, 2.0));
  EXPECT_EQ(events(file)[1].content,
            formats::text_content(1, "samples/prompt_1", {{"prompt", "p"}, {"text", "t"}}));
  log.finish(formats::SessionStatus::kSuccess);
  EXPECT_EQ(events(file).size(), 3u);
}

TEST_F(TensorBoardLogTest, AResumedRunHasNoStaleStepsAndKeepsTimes) {
  {
    TensorBoardLog log(folder_.path(), logs_, Json::object());
    for (int64_t step : {1, 2, 3}) train_row(step, 2.0);
    log.follow();
  }
  const fs::path first = files(logs_)[0];
  const double time = events(first)[0].wall_time;
  test::write_text(folder_ / "metrics.jsonl", "{\"step\":1,\"loss\":2.0}\n");
  TensorBoardLog log(folder_.path(), logs_, Json::object());
  train_row(2, 1.0);
  log.follow();
  ASSERT_EQ(files(logs_).size(), 2u);
  EXPECT_EQ(files(logs_)[0], first);
  EXPECT_EQ(fs::file_size(first), 0u);
  const auto second = events(files(logs_)[1]);
  ASSERT_EQ(second.size(), 2u);
  EXPECT_EQ(second[0].content, scalar(1, 2.0));
  EXPECT_EQ(second[0].wall_time, time);
  EXPECT_EQ(second[1].content, scalar(2, 1.0));
  const TensorBoardLog third(folder_.path(), logs_, Json::object());
  EXPECT_FALSE(fs::exists(first));
}

TEST_F(TensorBoardLogTest, LeavesEventFilesOfOtherRunsAlone) {
  const TensorBoardLog mine(folder_ / "a", logs_, Json::object());
  test::write_text(logs_ / "events.out.tfevents.1.theirs", "x");
  const TensorBoardLog other(folder_ / "b", logs_, Json::object());
  const TensorBoardLog again(folder_ / "a", logs_, Json::object());
  size_t with_events = 0;
  for (const fs::path& file : files(logs_)) with_events += fs::is_empty(file) ? 0 : 1;
  EXPECT_EQ(with_events, 3u);
  EXPECT_EQ(test::slurp(logs_ / "events.out.tfevents.1.theirs"), "x");
}

}  // namespace
}  // namespace hone::recipes
