// One training step: executes the action list of parallel/schedule.h over the model's stages.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "data/micro_batch.h"
#include "models/model.h"
#include "parallel/comm/mesh.h"
#include "parallel/schedule.h"
#include "trainer/optimizer.h"
#include "trainer/source_loss.h"
#include "trainer/timeline.h"

namespace hone::trainer {

// Element counts of the model's stages, of whole tensors, so the same on all ranks; byte figures
// are left 0.
std::vector<parallel::StageDescriptor> describe_stages(const models::Model& model);

struct StepOptions {
  int64_t step = 0;  // 0-based
  uint64_t seed = 42;
  double learning_rate = 0;
  OptimizerOptions optimizer;
  Timeline* timeline = nullptr;    // told of every action
  int64_t num_sources = 1;         // datasets to tell apart
  parallel::Mesh* mesh = nullptr;  // not given: one rank
  bool strict = false;             // as the actions were made for
  bool overlap_reduce = false;     // likewise
  // Of the step over all ranks; not given: of `micro_batches`.
  int64_t num_micro_batches = -1, num_trained_tokens = -1;
  // What each rank has of these is summed over the ranks on the way.
  std::vector<double> to_sum;
  std::function<void()> before_update;  // called once weights and moments are about to change
};

// Of the whole step, the same on every rank.
struct StepResult {
  double loss_sum = 0;  // negative log likelihood over the step's trained tokens
  int64_t num_trained_tokens = 0;
  int64_t num_tokens = 0;  // fed, trained or not
  double grad_norm = 0;    // before clipping
  SourceLosses by_source;
  std::vector<double> sums;  // of StepOptions::to_sum
  int64_t comm_bytes = 0;    // sent by this rank
};

// Runs `actions` on the micro-batches of the step that are this rank's, in the order of
// parallel::micro_batches_of: gradients are zeroed, accumulated over micro-batches and ranks with
// the loss divided by the step's trained tokens, and applied by kUpdate. Collective over the mesh.
// Throws kNumerical on every rank before the update when a loss or gradient is not finite, naming
// the step, the first bad parameter and the rank's samples; weights and moments are then untouched.
StepResult run_step(models::Model& model, OptimizerState& optimizer,
                    const std::vector<parallel::Action>& actions,
                    std::span<const data::MicroBatch> micro_batches, const StepOptions& options);

}  // namespace hone::trainer
