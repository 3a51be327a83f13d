// What every rank of a run keeps in memory.
#pragma once

#include <cstdint>
#include <vector>

#include "models/model.h"
#include "parallel/comm/mesh.h"
#include "parallel/schedule.h"
#include "trainer/optimizer.h"

namespace hone::trainer {

// Bytes of weights this rank keeps between steps: float32 masters and frozen weights, and the
// compute copies of masters when the compute dtype is another. Of parameters sharded at level 3 its
// part of them; frozen ones in a file's memory map count whole, though ranks of a machine share
// them.
int64_t parameter_bytes(const models::Model& model);
// Of gradients that it keeps.
int64_t gradient_bytes(const models::Model& model);

// The most bytes of activations that are there at a time in a step of these actions, by the count
// of models/spec/stage_bytes.h, where no micro-batch has more than `tokens` tokens.
int64_t activation_bytes(const models::Model& model, const parallel::Mesh& mesh,
                         const std::vector<parallel::Action>& actions, int64_t tokens);

struct RankBytes {
  std::vector<int64_t> parameters, gradients, optimizer, activations;  // by rank
};

// Both: collective.
RankBytes gather_rank_bytes(parallel::Mesh& mesh, const models::Model& model,
                            const OptimizerState& optimizer, int64_t activations);
std::vector<int64_t> gather_peak_bytes(parallel::Mesh& mesh);  // resident memory

}  // namespace hone::trainer
