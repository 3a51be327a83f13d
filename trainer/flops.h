// Floating-point operations that the maths of training asks for (model FLOPs, as in PaLM,
// arXiv:2204.02311 appendix B): matrix products only, a multiply and an add are two. What is
// computed again by gradient_checkpointing or inside attention's backward does not count, so more
// recompute never looks like more work done.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/micro_batch.h"
#include "models/model.h"

namespace hone::trainer {

// Forward 2 per weight and token, gradient of the input 2, gradient of the weight 2: 6 for a
// trained matrix, 4 for a frozen one above the lowest trained stage, 2 for one below.
struct FlopCounts {
  struct Weights {
    int64_t trained = 0;       // elements of matrices, adapters included
    int64_t frozen = 0;        // with a gradient of their input
    int64_t frozen_below = 0;  // forward only
    double flops() const;      // per token
  };
  struct AttentionLayers {
    int64_t window = 0;         // 0: none
    double flops_per_pair = 0;  // of a query and a key it sees, all heads and these layers together
  };
  Weights blocks;  // for every token
  Weights head;    // for every trained token: rows without a label are skipped
  std::vector<AttentionLayers> attention;
};

FlopCounts count_flops(const models::Model& model);

struct StepFlops {
  double blocks = 0, head = 0, attention = 0;
  double total() const { return blocks + head + attention; }
};
// Forward and backward of these micro-batches.
StepFlops flops_of(const FlopCounts& counts, std::span<const data::MicroBatch> micro_batches);

// "6 x 106.2 M trained + 4 x 28.3 M frozen"
std::string describe_weights(const FlopCounts::Weights& weights);

}  // namespace hone::trainer
