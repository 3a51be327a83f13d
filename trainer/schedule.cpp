#include "trainer/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "core/error.h"

namespace hone::trainer {
namespace {

using core::ErrorKind;
using core::fail;

double ratio(int64_t numerator, int64_t denominator) {
  return static_cast<double>(numerator) / static_cast<double>(std::max<int64_t>(1, denominator));
}

double factor(const LearningRate& rate, int64_t step) {
  if (step < rate.warmup_steps) return ratio(step, rate.warmup_steps);
  const int64_t at = std::min(step, rate.horizon);
  switch (rate.type) {
    case ScheduleType::kConstant:
      return 1.0;
    case ScheduleType::kLinear:
      return std::max(0.0, ratio(rate.horizon - at, rate.horizon - rate.warmup_steps));
    case ScheduleType::kCosine: {
      const double progress = ratio(at - rate.warmup_steps, rate.horizon - rate.warmup_steps);
      return std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
    }
    case ScheduleType::kWsd: {
      const int64_t decay_start = rate.horizon - rate.decay_steps;
      if (at < decay_start) return 1.0;
      if (at >= rate.horizon) return 0.0;
      return std::max(0.0, 1.0 - ratio(at - decay_start, rate.decay_steps));
    }
  }
  return 1.0;
}

int64_t steps_of(double part, int64_t horizon) {
  return static_cast<int64_t>(std::ceil(part * static_cast<double>(horizon)));
}

}  // namespace

double LearningRate::at(int64_t step) const { return peak * factor(*this, step); }

LearningRate make_learning_rate(const ScheduleOptions& options, int64_t max_steps) {
  LearningRate rate{.type = options.type, .peak = options.learning_rate};
  rate.horizon = options.scheduler_steps > 0 ? options.scheduler_steps : max_steps;
  rate.warmup_steps = options.warmup_steps > 0 ? options.warmup_steps
                                               : steps_of(options.warmup_ratio, rate.horizon);
  if (options.type == ScheduleType::kWsd)
    rate.decay_steps = steps_of(options.wsd_decay_ratio, rate.horizon);
  if (rate.warmup_steps + rate.decay_steps > rate.horizon) {
    fail(ErrorKind::kBadRecipe, {.what = "the learning rate schedule does not fit",
                                 .got = std::to_string(rate.warmup_steps) + " warm-up and " +
                                        std::to_string(rate.decay_steps) + " decay steps",
                                 .expected = "at most " + std::to_string(rate.horizon) +
                                             " in all (scheduler_steps, or max_steps)"});
  }
  return rate;
}

}  // namespace hone::trainer
