// Runs of several ranks that end before their last step, or end with another model than the last.
#include "tests/e2e/ranks.h"

namespace hone::test {
namespace {

std::map<std::string, std::string> long_run() {
  return for_ranks(
      {{"strict", "true"}, {"max_steps", "60"}, {"save_steps", "1000"}, {"eval_steps", "30"}});
}

TEST(RanksStop, SignalStopsAllAfterTheSameStepAndAnotherNumberOfRanksGoesOn) {
  Workspace whole;
  whole.write_recipe(long_run());
  ASSERT_EQ(whole.train().code, 0);
  const std::vector<std::tuple<Sizes, int, Sizes>> cases = {
      {{.shard = 2, .level = 3}, 1, {}},
      {{.replicate = 2, .shard = 2, .level = 2}, kMpirun, {.replicate = 2}},
  };
  for (const auto& [sizes, target, sizes_after] : cases) {
    SCOPED_TRACE(sizes.text());
    Workspace stopped;
    stopped.write_recipe(long_run());
    const ProcessResult first = train_on(stopped, sizes, {}, send_stop(stopped, target));
    ASSERT_EQ(first.code, 75) << first.err;
    EXPECT_EQ(times(first.err, "stopped by signal"), 1u) << first.err;
    expect_one_checkpoint(stopped);
    const ProcessResult second = train_on(stopped, sizes_after, {"--resume"});
    ASSERT_EQ(second.code, 0) << second.err;
    EXPECT_NE(second.err.find("checkpoint-60"), std::string::npos) << second.err;
    expect_same_bytes(whole, stopped, 60);
  }
}

TEST(RanksStop, EarlyStoppingAndTheBestModelAreThoseOfOneRank) {
  const auto recipe = for_ranks({{"strict", "true"},
                                 {"max_steps", "40"},
                                 {"eval_steps", "2"},
                                 {"save_steps", "40"},
                                 {"load_best_model_at_end", "true"},
                                 {"greater_is_better", "true"},  // the first is then the best
                                 {"early_stopping_patience", "2"}});
  Workspace one, two;
  one.write_recipe(recipe);
  two.write_recipe(recipe);
  ASSERT_EQ(one.train().code, 0);
  const ProcessResult result = train_on(two, {.shard = 2, .level = 3});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(times(result.err, "stopped early after step 6"), 1u) << result.err;
  EXPECT_EQ(times(result.err, "the best model is that of step 2"), 1u) << result.err;
  expect_same_bytes(one, two, 6);
  EXPECT_EQ(weights_file(two), slurp(two / "out" / "checkpoint-2" / "adapter_model.safetensors"));
}

TEST(RanksStop, EverySaveAndTheEndArePushedOnce) {
  Workspace one, two;
  for (Workspace* work : {&one, &two}) {
    work->write_recipe(for_ranks(
        {{"push_to_hub", "true"}, {"hub_model_id", "me/tiny"}, {"hub_strategy", "every_save"}}));
  }
  ASSERT_EQ(one.train().code, 0);
  const ProcessResult result = train_on(two, {.shard = 2});
  ASSERT_EQ(result.code, 0) << result.err;
  const std::string history = two.hone({"hub", "history", "me/tiny"}).out;
  EXPECT_EQ(times(history, "checkpoint-2"), 1u) << history;
  const std::string alone = one.hone({"hub", "history", "me/tiny"}).out;
  EXPECT_EQ(times(history, "\n"), times(alone, "\n")) << history << alone;
  ASSERT_EQ(two.hone({"pull", "me/tiny", "--output", "pulled"}).code, 0);
  EXPECT_EQ(slurp(two / "pulled" / "adapter_model.safetensors"), weights_file(two));
  EXPECT_EQ(core::read_json_file(two / "out" / "run.json").at("checkpoint_pushes"),
            core::read_json_file(one / "out" / "run.json").at("checkpoint_pushes"));
}

}  // namespace
}  // namespace hone::test
