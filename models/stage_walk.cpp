#include "models/stage_walk.h"

#include "models/decoder.h"
#include "models/row_parallel.h"

namespace hone::models {

namespace {

int rank_of(const Model& model, size_t stage) {
  return static_cast<int>(model.sharding.pipeline.rank_of(static_cast<int64_t>(stage)));
}

bool computes(const Model& model, size_t stage) {
  return model.sharding.computes(static_cast<int64_t>(stage));
}

}  // namespace

at::Tensor input_of_stage(const Model& model, const Batch& batch, size_t stage,
                          const at::Tensor& x_TD) {
  if (stage == 0 || computes(model, stage - 1)) return x_TD;
  at::Tensor received =
      at::empty({batch.num_rows, model.spec.hidden_size},
                at::TensorOptions().dtype(model.compute_dtype).device(model.device));
  model.weights->share.groups.pipeline->recv(received.mutable_data_ptr(), received.numel(),
                                             comm_dtype(model.compute_dtype),
                                             rank_of(model, stage - 1));
  return received;
}

void hand_on(const Model& model, size_t stage, const at::Tensor& x_TD) {
  if (computes(model, stage + 1)) return;
  const at::Tensor sent = x_TD.contiguous();
  model.weights->share.groups.pipeline->send(sent.const_data_ptr(), sent.numel(),
                                             comm_dtype(model.compute_dtype),
                                             rank_of(model, stage + 1));
}

at::Tensor walk_stages(const Model& model, const Batch& batch,
                       const std::function<at::Tensor(size_t stage, const at::Tensor& x_TD)>& run) {
  const size_t head = model.stages.size() - 1;
  at::Tensor x_TD;
  for (size_t stage = 0; stage <= head; ++stage) {
    if (!computes(model, stage)) continue;
    x_TD = input_of_stage(model, batch, stage, x_TD);
    if (stage == head) return x_TD;
    x_TD = run(stage, x_TD);
    hand_on(model, stage, x_TD);
  }
  return {};
}

at::Tensor logits_everywhere(const Model& model, const Batch& batch, const at::Tensor& x_TD,
                             const at::Tensor& rows) {
  const auto head = static_cast<int64_t>(model.stages.size()) - 1;
  at::Tensor logits;
  if (model.sharding.computes(head)) logits = model.logits(all_rows(model, x_TD, batch), rows);
  const Group& pipeline = model.weights->share.groups.pipeline;
  if (pipeline == nullptr) return logits;
  if (!logits.defined()) {
    int64_t num_rows = rows.defined() ? rows.numel() : 0;
    if (!rows.defined()) {
      for (const int64_t part : batch.row_parts) num_rows += part;
    }
    logits = at::empty({num_rows, model.spec.vocab_size},
                       at::TensorOptions().dtype(at::kFloat).device(model.device));
  }
  logits = logits.contiguous();
  pipeline->broadcast(logits.mutable_data_ptr(), logits.numel(), parallel::DType::kFloat32,
                      static_cast<int>(model.sharding.pipeline.rank_of(head)));
  return logits;
}

}  // namespace hone::models
