#include "models/stage_walk.h"

#include "models/decoder.h"
#include "models/row_parallel.h"

namespace hone::models {

at::Tensor walk_stages(const Model& model, const Batch& batch,
                       const std::function<at::Tensor(size_t stage, const at::Tensor& x_TD)>& run) {
  const Sharding& sharding = model.sharding;
  const Group& pipeline = model.weights->share.groups.pipeline;
  const auto rank_of = [&](size_t stage) {
    return static_cast<int>(sharding.pipeline.rank_of(static_cast<int64_t>(stage)));
  };
  const auto is_mine = [&](size_t stage) { return sharding.computes(static_cast<int64_t>(stage)); };
  const size_t head = model.stages.size() - 1;
  const parallel::DType dtype = comm_dtype(model.compute_dtype);
  at::Tensor x_TD;
  for (size_t stage = 0; stage <= head; ++stage) {
    if (!is_mine(stage)) continue;
    if (stage > 0 && !is_mine(stage - 1)) {
      x_TD = at::empty({batch.num_rows, model.spec.hidden_size},
                       at::TensorOptions().dtype(model.compute_dtype).device(model.device));
      pipeline->recv(x_TD.mutable_data_ptr(), x_TD.numel(), dtype, rank_of(stage - 1));
    }
    if (stage == head) return x_TD;
    x_TD = run(stage, x_TD);
    if (is_mine(stage + 1)) continue;
    x_TD = x_TD.contiguous();
    pipeline->send(x_TD.const_data_ptr(), x_TD.numel(), dtype, rank_of(stage + 1));
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
