#include "models/model.h"

#include <ATen/core/grad_mode.h>

#include "core/error.h"
#include "models/build_model.h"
#include "models/decoder.h"
#include "models/flat_memory.h"
#include "models/overlapped_attention.h"
#include "models/rope.h"
#include "models/row_parallel.h"

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

std::vector<int64_t> trained_parts(std::span<const int32_t> labels,
                                   const std::vector<int64_t>& token_parts) {
  std::vector<int64_t> parts;
  size_t begin = 0;
  for (const int64_t tokens : token_parts) {
    const auto part = labels.subspan(begin, static_cast<size_t>(tokens));
    parts.push_back(std::ranges::count_if(part, [](int32_t label) { return label != -100; }));
    begin += part.size();
  }
  return parts;
}

at::Tensor attend(const DecoderWeights& weights, const BlockWeights& block,
                  const at::Tensor& qkv_TC, const Batch& batch) {
  const bool is_alone = batch.token_parts.size() == 1;
  const RankShare& share = weights.share;
  const HeadSplit& split = is_alone ? share.alone : share.over_context;
  const auto attention = [&](const at::Tensor& own_TC, const HeadSplit& heads) {
    return kernels::attention(own_TC, batch.cos_TN2, batch.sin_TN2, batch.cu_doc_lens,
                              attention_shape(weights.spec, heads, block), block.q_norm,
                              block.k_norm, weights.spec.rms_norm_eps);
  };
  return exchanged_attention(qkv_TC, split, batch.token_parts, share.groups.head_chunks,
                             share.groups.context, attention);
}

std::function<at::Tensor(const at::Tensor&, const Batch&, const ForwardContext&)> block_stage(
    std::shared_ptr<const DecoderWeights> weights, size_t index) {
  return
      [weights, index](const at::Tensor& x_TD, const Batch& batch, const ForwardContext& context) {
        const BlockWeights& block = weights->blocks[index];
        const auto attend_own = [&](const at::Tensor& qkv_TC) {
          return attend(*weights, block, qkv_TC, batch);
        };
        return block_forward(*weights, block, x_TD, batch, context, attend_own);
      };
}

}  // namespace

Model build_model(ModelSpec spec, AdapterOptions adapter, at::ScalarType compute_dtype,
                  at::Device device, const Sharding& sharding, const ComputeGroups& groups,
                  StageBuffers buffers) {
  const bool has_tied_head = buffers.has_tied_head;
  const auto weights = std::make_shared<const DecoderWeights>(
      gather_weights(spec, adapter, buffers, sharding, groups));
  Model model{.spec = std::move(spec),
              .weights = weights,
              .adapter = std::move(adapter),
              .compute_dtype = compute_dtype,
              .device = device,
              .sharding = sharding,
              .stages = std::move(buffers.stages)};
  model.stages.front().forward = [weights](const at::Tensor&, const Batch& batch,
                                           const ForwardContext&) {
    return embed_forward(*weights, batch);
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
  if (has_tied_head) model.stages.back().shares_with = 0;
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
                 std::span<const int32_t> cu_doc_lens, bool over_context) {
  const bool sizes_agree = position_ids.size() == input_ids.size() &&
                           (labels.empty() || labels.size() == input_ids.size()) &&
                           cu_doc_lens.size() >= 2 && cu_doc_lens.front() == 0 &&
                           cu_doc_lens.back() == static_cast<int32_t>(input_ids.size());
  if (!sizes_agree) {
    core::fail(core::ErrorKind::kInternal, {.what = "micro-batch sizes don't agree"});
  }
  check_ids(input_ids, model.spec.vocab_size);
  const ComputeGroups& groups = model.weights->share.groups;
  const Group& context = over_context ? groups.context : nullptr;
  const auto rank_of = [](const Group& group) { return group == nullptr ? 0 : group->rank(); };
  const auto size_of = [](const Group& group) { return group == nullptr ? 1 : group->size(); };
  Batch batch;
  batch.token_parts = equal_parts(static_cast<int64_t>(input_ids.size()), size_of(context));
  const auto own = static_cast<size_t>(rank_of(context));
  for (size_t i = 0; i < own; ++i) batch.first_token += batch.token_parts[i];
  batch.row_parts = equal_parts(batch.token_parts[own], size_of(groups.tensor));
  batch.num_rows = batch.row_parts[static_cast<size_t>(rank_of(groups.tensor))];
  const auto own_tokens = [&](std::span<const int32_t> all) {
    return all.subspan(static_cast<size_t>(batch.first_token),
                       static_cast<size_t>(batch.token_parts[own]));
  };
  batch.input_ids_T = to_int64(own_tokens(input_ids)).to(model.device);
  if (!labels.empty()) {
    batch.labels_T = to_int64(own_tokens(labels)).to(model.device);
    batch.trained_parts = trained_parts(labels, batch.token_parts);
  }
  std::tie(batch.cos_TN2, batch.sin_TN2) =
      rope_tables(model.spec.rope, model.spec.head_dim, to_int64(position_ids).to(model.device));
  batch.cu_doc_lens.assign(cu_doc_lens.begin(), cu_doc_lens.end());
  return batch;
}

at::Tensor all_rows(const Model& model, const at::Tensor& x_TD, const Batch& batch) {
  return all_gather_rows(x_TD, batch.row_parts, model.weights->share.groups.tensor);
}

int64_t num_trainable(const Model& model) {
  int64_t count = 0;
  for (const Stage& stage : model.stages) count += num_trainable(stage);
  return count;
}

int64_t num_trainable(const Stage& stage) {
  int64_t count = 0;
  for (const Parameter& parameter : stage.parameters) {
    if (parameter.is_trainable) count += c10::multiply_integers(parameter.shape);
  }
  return count;
}

int64_t num_parameters(const Model& model) {
  int64_t count = 0;
  for (const Stage& stage : model.stages) {
    for (const Parameter& parameter : stage.parameters)
      count += c10::multiply_integers(parameter.shape);
  }
  return count;
}

}  // namespace hone::models
