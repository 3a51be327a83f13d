// What a rank does in a step of a run.
#pragma once

#include <cstdint>
#include <vector>

#include "models/model.h"
#include "parallel/comm/mesh.h"
#include "parallel/schedule.h"
#include "trainer/options.h"

namespace hone::trainer {

// Throws kInternal for a layout or number of micro-batches that make_step can't schedule.
std::vector<parallel::Action> actions_of_step(const models::Model& model,
                                              const parallel::Mesh& mesh,
                                              const TrainOptions& options,
                                              int64_t num_micro_batches);

}  // namespace hone::trainer
