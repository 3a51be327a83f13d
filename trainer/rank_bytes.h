// What every rank of a run keeps in memory.
#pragma once

#include <cstdint>
#include <vector>

#include "models/model.h"
#include "parallel/comm/mesh.h"
#include "trainer/optimizer.h"

namespace hone::trainer {

// Bytes of weights this rank keeps between steps: float32 masters and frozen weights, and the
// compute copies of masters when the compute dtype is another. Of parameters sharded at level 3 its
// part of them; frozen ones in a file's memory map count whole, though ranks of a machine share
// them.
int64_t parameter_bytes(const models::Model& model);
// Of gradients that it keeps.
int64_t gradient_bytes(const models::Model& model);

struct RankBytes {
  std::vector<int64_t> parameters, gradients, optimizer;  // by rank
};

// Both: collective.
RankBytes gather_rank_bytes(parallel::Mesh& mesh, const models::Model& model,
                            const OptimizerState& optimizer);
std::vector<int64_t> gather_peak_bytes(parallel::Mesh& mesh);  // resident memory

}  // namespace hone::trainer
