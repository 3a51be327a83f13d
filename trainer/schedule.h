// Learning rate over the steps of a run, with the numbers of transformers' get_scheduler.
#pragma once

#include <cstdint>

#include "trainer/options.h"

namespace hone::trainer {

// The schedule with its lengths resolved to steps.
struct LearningRate {
  ScheduleType type = ScheduleType::kLinear;
  double peak = 0;
  int64_t warmup_steps = 0;
  int64_t horizon = 0;  // steps until the schedule ends; past it the rate stays at its last value
  int64_t decay_steps = 0;  // kWsd: the last part of the horizon

  // The rate of update `step`, counted from 0. As in transformers, update 0 of a warm-up has rate 0
  // and update warmup_steps is the first at the peak. kConstant is transformers'
  // constant_with_warmup, kWsd its warmup_stable_decay with linear decay (arXiv:2405.18392).
  double at(int64_t step) const;
};

// Horizon = scheduler_steps, or max_steps when that is 0; warm-up = warmup_steps, or
// ceil(warmup_ratio * horizon). Throws kBadRecipe for lengths that don't fit the horizon.
LearningRate make_learning_rate(const ScheduleOptions& options, int64_t max_steps);

}  // namespace hone::trainer
