#include "trainer/schedule.h"

#include <gtest/gtest.h>

#include <map>

#include "core/json.h"
#include "tests/trainer/support.h"

namespace hone::trainer {
namespace {

TEST(LearningRate, EqualsTransformersAtEveryStep) {
  const std::map<std::string, ScheduleType> types{{"linear", ScheduleType::kLinear},
                                                  {"cosine", ScheduleType::kCosine},
                                                  {"constant", ScheduleType::kConstant},
                                                  {"wsd", ScheduleType::kWsd}};
  const core::Json json = core::read_json_file(golden("trainer/schedules.json"));
  ASSERT_EQ(json.at("cases").size(), 10u);
  for (const auto& item : json.at("cases")) {
    ScheduleOptions options{.type = types.at(item.at("type")),
                            .learning_rate = json.at("learning_rate")};
    options.warmup_steps = item.at("warmup_steps");
    options.wsd_decay_ratio = json.at("wsd_decay_ratio");
    const LearningRate rate = make_learning_rate(options, item.at("horizon"));
    int64_t step = 0;
    for (const double expected : item.at("rates")) {
      EXPECT_NEAR(rate.at(step), expected, 1e-18) << item.at("type") << " step " << step;
      ++step;
    }
  }
}

TEST(LearningRate, WarmupRatioIsRoundedUpAndWarmupStepsWin) {
  EXPECT_EQ(make_learning_rate({.warmup_ratio = 0.03}, 110).warmup_steps, 4);
  EXPECT_EQ(make_learning_rate({.warmup_steps = 7, .warmup_ratio = 0.03}, 110).warmup_steps, 7);
}

TEST(LearningRate, SchedulerStepsFixTheHorizonWhenMaxStepsIsRaised) {
  const ScheduleOptions options{
      .type = ScheduleType::kCosine, .learning_rate = 1, .scheduler_steps = 40};
  const LearningRate first = make_learning_rate(options, 20),
                     later = make_learning_rate(options, 40);
  for (int64_t step = 0; step < 20; ++step) EXPECT_EQ(first.at(step), later.at(step));
}

TEST(LearningRate, CosineDoesNotRiseAgainPastItsHorizon) {
  const LearningRate rate = make_learning_rate(
      {.type = ScheduleType::kCosine, .learning_rate = 1, .scheduler_steps = 10}, 30);
  EXPECT_EQ(rate.at(10), 0);
  EXPECT_EQ(rate.at(20), 0);
}

TEST(LearningRate, LengthsThatDoNotFitAreABadRecipe) {
  expect_failure([] { make_learning_rate({.warmup_steps = 11}, 10); }, core::ErrorKind::kBadRecipe,
                 {"11 warm-up"});
  expect_failure([] { make_learning_rate({.type = ScheduleType::kWsd, .warmup_steps = 10}, 10); },
                 core::ErrorKind::kBadRecipe);
}

}  // namespace
}  // namespace hone::trainer
