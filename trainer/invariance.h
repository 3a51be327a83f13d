// The same step in several groupings and ways of executing it: loss and gradients must agree.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/micro_batch.h"
#include "models/model.h"
#include "trainer/options.h"

namespace hone::trainer {

// One way of doing a step. Every variant of a step holds the same documents.
struct StepVariant {
  std::string name;  // "one document a micro-batch"
  std::vector<data::MicroBatch> micro_batches;
  bool recompute = false;
  size_t against = 0;  // index of the earlier variant it is compared with; the first with none
  double bound = 0;    // 0: to the last bit
};

struct VariantDifference {
  std::string name, against;
  double loss = 0;  // of the losses, relative
  // Largest over the trainable tensors: |a - b| / max(|b|, |all b| / 1000), Euclidean norms in
  // float64. The floor keeps tensors whose gradient is zero but for rounding out of it.
  double gradient = 0;
  std::string tensor;                // where it is; "" when all gradients are equal
  double loss_bound = 0, bound = 0;  // of the loss, of the gradient
  // Both keep the larger one; NaN counts as the largest difference there is.
  void take_loss(double difference);
  void take_gradient(double difference, const std::string& of_tensor);
  bool holds() const { return loss <= loss_bound && gradient <= bound; }
};

struct InvarianceOptions {
  uint64_t seed = 42;
  double learning_rate = 0;  // of the update between two steps
  OptimizerOptions optimizer;
};

// Runs every variant of every step and returns, for each variant but the first, its largest
// differences over the steps. All variants of a step start at the same weights: between two steps
// the first variant's gradient is applied. The weights of `model` are changed. Throws kNumerical as
// run_step does.
std::vector<VariantDifference> compare_variants(models::Model& model,
                                                const std::vector<std::vector<StepVariant>>& steps,
                                                const InvarianceOptions& options);

// The variants every model must agree on, for the micro-batches of one step: as they are; in one
// micro-batch; one document a micro-batch; that padded to `length`; as they are with recompute.
std::vector<StepVariant> standard_variants(const std::vector<data::MicroBatch>& micro_batches,
                                           int64_t length, int32_t pad_id, double bound);

}  // namespace hone::trainer
