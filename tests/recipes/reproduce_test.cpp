#include "recipes/reproduce.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/process.h"

namespace hone::recipes {
namespace {

using core::ErrorKind;
using core::Json;
using test::TemporaryFolder;
using test::write_text;

Json recorded() {
  return {{"recipe",
           {{"recipe", "sft"},
            {"model_name_or_path", "org/model"},
            {"model_revision", "main"},
            {"datasets", Json::array({{{"path", "train.jsonl"}}})},
            {"dtype", "auto"},
            {"max_steps", nullptr},
            {"push_to_hub", true},
            {"hub_model_id", "me/model"},
            {"output_dir", "out"}}},
          {"model", {{"fingerprint", "f"}, {"commit", std::string(40, 'a')}}},
          {"identity", {{"tokenizer", "t"}}},
          {"data", {{"train", {{"key", "k"}}}}},
          {"dtype", {{"name", "bfloat16"}}},
          {"max_steps", 8},
          {"outcome", {{"status", "finished"}, {"step", 8}}}};
}

class Reproduce : public testing::Test {
 protected:
  TemporaryFolder folder_;
  RecordedRun read(const Json& info) {
    write_text(folder_ / "run.json", info.dump());
    return read_run(folder_.path());
  }
  std::string refusal(const Json& info) {
    try {
      read(info);
    } catch (const core::Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
      return e.what();
    }
    ADD_FAILURE() << "was read";
    return "";
  }
};

TEST_F(Reproduce, TheRerunIsPinnedToWhatTheRunChose) {
  write_text(folder_ / "train.jsonl", "{}\n");
  Json info = recorded();
  info["recipe"]["datasets"][0]["path"] = (folder_ / "train.jsonl").string();
  const RecordedRun run = read(info);
  EXPECT_EQ(run.step, 8);
  const std::string text = rerun_recipe(run, "/tmp/again", 8);
  const Recipe recipe = parse_recipe(text, "recipe.json");
  EXPECT_EQ(recipe.model_revision, std::string(40, 'a'));
  EXPECT_EQ(recipe.dtype, "bfloat16");
  EXPECT_EQ(recipe.train.output_dir, "/tmp/again");
  EXPECT_FALSE(recipe.hub.push);
  EXPECT_EQ(Json::parse(text)["max_steps"], nullptr) << "epochs stay epochs";
}

TEST_F(Reproduce, TheRerunIsOnAsManyRanksAsTheRun) {
  using Words = std::vector<std::string>;
  write_text(folder_ / "train.jsonl", "{}\n");
  Json info = recorded();
  info["recipe"]["datasets"][0]["path"] = (folder_ / "train.jsonl").string();
  const auto command = [&] {
    const std::string text = rerun_recipe(read(info), "/tmp/again", 8);
    return rerun_command(parse_recipe(text, "recipe.json", {.num_ranks = kAnyRanks}), "/bin/hone",
                         "/tmp/recipe.json");
  };
  EXPECT_EQ(command(), (Words{"/bin/hone", "train", "/tmp/recipe.json"}));
  info["recipe"]["dp_replicate_size"] = 2;
  info["recipe"]["dp_shard_size"] = 3;
  EXPECT_EQ(command(), (Words{"mpirun", "--oversubscribe", "-np", "6", "/bin/hone", "train",
                              "/tmp/recipe.json"}));
}

TEST_F(Reproduce, FewerStepsKeepTheScheduleAsLongAsItWas) {
  const RecordedRun run = read(recorded());
  const Json recipe = Json::parse(rerun_recipe(run, "/tmp/again", 3));
  EXPECT_EQ(recipe["max_steps"], 3);
  EXPECT_EQ(recipe["scheduler_steps"], 8);
  Json with_horizon = recorded();
  with_horizon["recipe"]["scheduler_steps"] = 100;
  EXPECT_EQ(Json::parse(rerun_recipe(read(with_horizon), "/tmp/again", 3))["scheduler_steps"], 100);
}

TEST_F(Reproduce, ARunWithoutAnEndOrWithoutItsRecordIsRefused) {
  Json info = recorded();
  info["outcome"] = {{"status", "running"}};
  EXPECT_NE(refusal(info).find("not over"), std::string::npos);
  info["outcome"] = {{"status", "failed"}, {"step", 3}};
  EXPECT_NE(refusal(info).find("failed"), std::string::npos);
  info = recorded();
  info.erase("identity");
  EXPECT_NE(refusal(info).find("identity.tokenizer"), std::string::npos);
  info = recorded();
  info["outcome"]["step"] = "eight";
  refusal(info);
  TemporaryFolder empty;
  EXPECT_THROW(read_run(empty.path()), core::Error);
}

TEST_F(Reproduce, AStoppedRunIsDoneAgainToWhereItStopped) {
  Json info = recorded();
  info["outcome"] = {{"status", "stopped"}, {"step", 5}};
  const RecordedRun run = read(info);
  EXPECT_FALSE(run.finished);
  EXPECT_EQ(run.step, 5);
}

TEST(ChangedValues, NamesTheLeafWithBothValues) {
  const Json then{{"cpu", "A"}, {"threads", 4}, {"nested", {{"isa", "avx2"}}}};
  EXPECT_TRUE(changed_values(then, then).empty());
  const Json now{{"cpu", "B"}, {"threads", 4}, {"nested", {{"isa", "avx512"}}}, {"more", 1}};
  EXPECT_EQ(changed_values(then, now),
            (std::vector<std::string>{"cpu: then A, now B", "nested.isa: then avx2, now avx512"}));
}

}  // namespace
}  // namespace hone::recipes
