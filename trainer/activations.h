// The micro-batches of a step that are under way on this rank, and what a backward needs of them.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <map>

#include "data/micro_batch.h"
#include "models/model.h"
#include "parallel/schedule.h"

namespace hone::trainer {

// What a forward depends on, for micro-batch `index` of a step: the same numbers whatever ran
// before.
models::ForwardContext training_context(uint64_t seed, int64_t step, int64_t index);

// Activations are [Batch::num_rows, D] in the compute dtype. Not collective by itself; stages of a
// model over the tensor or context axis are.
class Activations {
 public:
  using MakeBatch = std::function<models::Batch(int64_t micro_batch)>;
  Activations(const models::Model& model, uint64_t seed, int64_t step, MakeBatch make_batch)
      : model_(model), seed_(seed), step_(step), make_batch_(std::move(make_batch)) {}

  // The activation going up, then the gradient coming down.
  at::Tensor& running(int64_t micro_batch) { return of(micro_batch).running_TD; }
  // Memory for one of another rank.
  at::Tensor buffer(int64_t micro_batch);

  void forward(int64_t stage, int64_t micro_batch, parallel::Keep keep);
  // Gradients of the weights are added, that of the input is the running one afterwards.
  kernels::HeadLoss loss(int64_t micro_batch, double loss_scale);
  void recompute(int64_t stage, int64_t micro_batch);
  void backward(int64_t stage, int64_t micro_batch);
  void end(int64_t micro_batch) { under_way_.erase(micro_batch); }

 private:
  struct MicroBatch {
    models::Batch batch;
    models::ForwardContext context;
    at::Tensor running_TD;
    std::map<int64_t, at::Tensor> inputs, outputs;  // kept for the backward, by stage
  };
  MicroBatch& of(int64_t index);
  void run_under_autograd(int64_t stage, const at::Tensor& input_TD, MicroBatch& micro_batch);
  const models::Stage& stage_at(int64_t stage) const {
    return model_.stages[static_cast<size_t>(stage)];
  }

  const models::Model& model_;
  const uint64_t seed_;
  const int64_t step_;
  const MakeBatch make_batch_;
  std::map<int64_t, MicroBatch> under_way_;
};

}  // namespace hone::trainer
