#include "models/model.h"

#include <ATen/core/grad_mode.h>

#include "core/error.h"
#include "models/build_model.h"
#include "models/decoder.h"
#include "models/flat_memory.h"
#include "models/rope.h"

namespace hone::models {
namespace {

at::Tensor to_int64(std::span<const int32_t> values) {
  const at::Tensor result = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), result.mutable_data_ptr<int64_t>());
  return result;
}

void check_ids(std::span<const int32_t> ids, int64_t vocab_size) {
  for (const int32_t id : ids) {
    if (id >= 0 && id < vocab_size) continue;
    core::fail(core::ErrorKind::kBadInput, {.what = "token id is outside the model's vocabulary",
                                            .got = std::to_string(id),
                                            .expected = "0 to " + std::to_string(vocab_size - 1),
                                            .hint = "the tokenizer may belong to another model"});
  }
}

std::function<at::Tensor(const at::Tensor&, const Batch&, const ForwardContext&)> block_stage(
    std::shared_ptr<const DecoderWeights> weights, size_t index) {
  return
      [weights, index](const at::Tensor& x_TD, const Batch& batch, const ForwardContext& context) {
        const BlockWeights& block = weights->blocks[index];
        const auto attend = [&](const at::Tensor& qkv_TC) {
          return kernels::attention(qkv_TC, batch.cos_TN2, batch.sin_TN2, batch.cu_doc_lens,
                                    attention_shape(weights->spec, block), block.q_norm,
                                    block.k_norm, weights->spec.rms_norm_eps);
        };
        return block_forward(*weights, block, x_TD, context, attend);
      };
}

}  // namespace

Model build_model(ModelSpec spec, AdapterOptions adapter, at::ScalarType compute_dtype,
                  at::Device device, const Sharding& sharding, StageBuffers buffers) {
  const auto weights =
      std::make_shared<const DecoderWeights>(gather_weights(spec, adapter, buffers));
  Model model{.spec = std::move(spec),
              .weights = weights,
              .adapter = std::move(adapter),
              .compute_dtype = compute_dtype,
              .device = device,
              .sharding = sharding,
              .stages = std::move(buffers.stages)};
  model.stages.front().forward = [weights](const at::Tensor&, const Batch& batch,
                                           const ForwardContext&) {
    return embed_forward(*weights, batch.input_ids_T);
  };
  for (size_t i = 0; i < weights->blocks.size(); ++i) {
    model.stages[i + 1].forward = block_stage(weights, i);
  }
  model.head = [weights](const at::Tensor& x_TD, const Batch& batch, double loss_scale,
                         bool want_grad, const ForwardContext& context) {
    return head_forward(*weights, x_TD, batch, loss_scale, want_grad, context);
  };
  model.logits = [weights](const at::Tensor& x_TD, const at::Tensor& rows) {
    return head_logits(*weights, rows.defined() ? x_TD.index_select(0, rows) : x_TD);
  };
  if (weights->head_VD.value.is_same(weights->embedding_VD.value)) {
    model.stages.back().shares_with = 0;
  }
  // A lookup's gradient needs the ids alone.
  model.stages.front().backward_reads_parameters = weights->embedding_lora.has_value();
  refresh_compute_weights(model);
  return model;
}

void refresh_compute_weights(Model& model) {
  if (model.compute_dtype == at::kFloat) return;
  const at::NoGradGuard no_grad;
  for (Stage& stage : model.stages) {
    const parallel::ElementRange& range = stage.kept.range;
    if (range.size() == 0 || !has_memory(stage.compute)) continue;
    stage.compute.narrow(0, range.begin, range.size()).copy_(stage.kept.trainable);
  }
}

Batch make_batch(const Model& model, std::span<const int32_t> input_ids,
                 std::span<const int32_t> position_ids, std::span<const int32_t> labels,
                 std::span<const int32_t> cu_doc_lens) {
  const bool sizes_agree = position_ids.size() == input_ids.size() &&
                           (labels.empty() || labels.size() == input_ids.size()) &&
                           cu_doc_lens.size() >= 2 && cu_doc_lens.front() == 0 &&
                           cu_doc_lens.back() == static_cast<int32_t>(input_ids.size());
  if (!sizes_agree) {
    core::fail(core::ErrorKind::kInternal, {.what = "micro-batch sizes don't agree"});
  }
  check_ids(input_ids, model.spec.vocab_size);
  Batch batch;
  batch.input_ids_T = to_int64(input_ids).to(model.device);
  if (!labels.empty()) batch.labels_T = to_int64(labels).to(model.device);
  std::tie(batch.cos_TN2, batch.sin_TN2) =
      rope_tables(model.spec.rope, model.spec.head_dim, to_int64(position_ids).to(model.device));
  batch.cu_doc_lens.assign(cu_doc_lens.begin(), cu_doc_lens.end());
  return batch;
}

int64_t num_trainable(const Model& model) {
  int64_t count = 0;
  for (const Stage& stage : model.stages) count += stage.trainable.numel();
  return count;
}

int64_t num_parameters(const Model& model) {
  int64_t count = 0;
  for (const Stage& stage : model.stages) {
    for (const Parameter& parameter : stage.parameters) count += parameter.value.numel();
  }
  return count;
}

}  // namespace hone::models
