// What to say when a number stops being finite.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/micro_batch.h"
#include "models/model.h"

namespace hone::trainer {

// "samples 3, 17, 20" of a step, in order, each once, at most 32 of them.
std::string describe_samples(std::span<const data::MicroBatch> micro_batches);

// "value of NAME", "gradient of NAME", of what this rank keeps, or "" when all is finite.
std::string first_bad_parameter(const models::Model& model);

// Throws kNumerical naming the first parameter, in model order, whose value is not finite, else the
// first whose gradient is not. `what` begins the message: "the loss of step 12 is not finite".
[[noreturn]] void fail_not_finite(const models::Model& model, const std::string& what, double got,
                                  std::span<const data::MicroBatch> micro_batches);

}  // namespace hone::trainer
