#include "models/decoder.h"

#include <ATen/core/grad_mode.h>

#include <numeric>

#include "models/lora_embedding.h"
#include "models/overlapped_linear.h"
#include "models/row_parallel.h"
#include "models/spec/modules.h"
#include "models/spec/parameter_plan.h"
#include "models/spec/shard_plan.h"

namespace hone::models {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";

const kernels::Weight* find_weight(const StageBuffers& buffers, const std::string& key) {
  const auto it = buffers.weights.find(key);
  return it == buffers.weights.end() ? nullptr : &it->second;
}

kernels::Weight weight_or_none(const StageBuffers& buffers, const std::string& key) {
  const kernels::Weight* weight = find_weight(buffers, key);
  return weight == nullptr ? kernels::Weight{} : *weight;
}

// Gives every adapted module the number that keys its dropout: its place among the adapted modules.
class LoraFinder {
 public:
  LoraFinder(const ModelSpec& spec, const AdapterOptions& adapter, const StageBuffers& buffers,
             const parallel::Slicer& slicer)
      : buffers_(buffers), adapter_(adapter) {
    if (!adapter.enabled()) return;
    const std::vector<std::string> targets = match_target_modules(spec, adapter);
    uint32_t stream = 0;
    for (const Module& module : adaptable_modules(spec)) {
      if (std::ranges::find(targets, module.path) == targets.end()) continue;
      const std::string key = module.path + ".lora_A";
      const auto slice = slice_of(spec, key, {adapter.r, module.in_features}, slicer);
      adapted_[module.path] = {.stream = stream++,
                               .first_column = slice.dim == 1 ? slice.range.begin : 0,
                               .num_columns = module.in_features};
    }
  }

  std::optional<LoraWeights> find(const std::string& path) const {
    const auto it = adapted_.find(path);
    if (it == adapted_.end()) return std::nullopt;
    return LoraWeights{.a_RD = weight_or_none(buffers_, path + ".lora_A"),
                       .b_OR = weight_or_none(buffers_, path + ".lora_B"),
                       .scale = lora_scale(adapter_),
                       .dropout = adapter_.lora_dropout,
                       .stream = it->second.stream,
                       .first_column = it->second.first_column,
                       .num_columns = it->second.num_columns};
  }

 private:
  const StageBuffers& buffers_;
  const AdapterOptions& adapter_;
  struct Adapted {
    uint32_t stream = 0;
    int64_t first_column = 0, num_columns = 0;
  };
  std::unordered_map<std::string, Adapted> adapted_;
};

// The weights as one if they are neighbours in a buffer, with neighbouring gradients if they train;
// else undefined.
kernels::Weight join_weights(const std::vector<kernels::Weight>& parts) {
  std::vector<at::Tensor> values, grads;
  for (const kernels::Weight& part : parts) {
    if (!part.defined() || part.trainable() != parts.front().trainable()) return {};
    values.push_back(part.value);
    grads.push_back(part.grad);
  }
  kernels::Weight joined{adjacent_rows(values), {}};
  if (joined.defined() && parts.front().trainable()) {
    joined.grad = adjacent_rows(grads);
    if (!joined.grad.defined()) return {};
  }
  return joined;
}

FusedLinear gather_linear(const std::vector<std::string>& paths, const StageBuffers& buffers,
                          const LoraFinder& loras) {
  std::vector<kernels::Weight> weights, biases;
  bool any_bias = false;
  for (const std::string& path : paths) {
    weights.push_back(weight_or_none(buffers, path + ".weight"));
    biases.push_back(weight_or_none(buffers, path + ".bias"));
    any_bias = any_bias || biases.back().defined();
  }
  const kernels::Weight weight = join_weights(weights);
  const kernels::Weight bias = any_bias ? join_weights(biases) : kernels::Weight{};
  const bool fuses = weight.defined() && bias.defined() == any_bias;
  FusedLinear linear;
  int64_t column = 0;
  for (size_t i = 0; i < paths.size(); ++i) {
    if (!fuses || i == 0) {
      linear.pieces.push_back(
          {.weight_OD = fuses ? weight : weights[i], .bias_O = fuses ? bias : biases[i]});
    }
    if (!fuses) column = 0;
    if (std::optional<LoraWeights> lora = loras.find(paths[i])) {
      linear.pieces.back().loras.emplace_back(*lora, column);
    }
    column += weights[i].value.size(0);
  }
  return linear;
}

// `first_row`: of the input, in that of the whole micro-batch.
kernels::Lora bind_lora(const LoraWeights& lora, int64_t begin, int64_t first_row,
                        const ForwardContext& context) {
  return {.a_RD = lora.a_RD,
          .b_OR = lora.b_OR,
          .scale = lora.scale,
          .begin = begin,
          .dropout = context.training ? lora.dropout : 0.0,
          .dropout_seed = context.seed,
          .dropout_step = context.micro_step,
          .dropout_stream = lora.stream,
          .dropout_first_row = first_row,
          .dropout_first_column = lora.first_column,
          .dropout_columns = lora.num_columns};
}

at::Tensor embed_ids(const DecoderWeights& weights, const at::Tensor& ids_T) {
  const at::Tensor x_TD = kernels::embedding(ids_T, weights.embedding_VD);
  if (!weights.embedding_lora) return x_TD;
  const LoraWeights& lora = *weights.embedding_lora;
  return add_lora_embedding(x_TD, ids_T, lora.a_RD, lora.b_OR, lora.scale);
}

std::vector<kernels::Lora> bind_head_loras(const DecoderWeights& weights, int64_t first_row,
                                           const ForwardContext& context) {
  std::vector<kernels::Lora> bound;
  for (const LoraWeights& lora : weights.head_loras)
    bound.push_back(bind_lora(lora, 0, first_row, context));
  return bound;
}

// `first_row`: of x, in the rows of the whole micro-batch.
at::Tensor apply_linear(const FusedLinear& linear, const at::Tensor& x_TD, int64_t first_row,
                        const ForwardContext& context) {
  std::vector<at::Tensor> outputs;
  for (const FusedLinear::Piece& piece : linear.pieces) {
    std::vector<kernels::Lora> loras;
    for (const auto& [lora, begin] : piece.loras)
      loras.push_back(bind_lora(lora, begin, first_row, context));
    outputs.push_back(kernels::linear(x_TD, piece.weight_OD, piece.bias_O, loras));
  }
  return outputs.size() == 1 ? outputs.front() : at::cat(outputs, 1);
}

bool drops_inputs(const FusedLinear& linear, const ForwardContext& context) {
  return context.training && std::ranges::any_of(linear.pieces, [](const auto& piece) {
           return std::ranges::any_of(piece.loras,
                                      [](const auto& lora) { return lora.first.dropout > 0; });
         });
}

// Rows that are not neighbours are one product, unless their numbers matter: to dropout.
RowsProduct product_of(const FusedLinear& linear, const Batch& batch,
                       const ForwardContext& context) {
  return [&](const at::Tensor& x_TD, const std::vector<RowRun>& runs) {
    if (!drops_inputs(linear, context))
      return apply_linear(linear, x_TD, batch.first_token, context);
    std::vector<int64_t> sizes;
    for (const RowRun& run : runs) sizes.push_back(run.count);
    const std::vector<at::Tensor> parts = x_TD.split_with_sizes(sizes);
    std::vector<at::Tensor> outputs;
    for (size_t i = 0; i < runs.size(); ++i) {
      outputs.push_back(apply_linear(linear, parts[i], batch.first_token + runs[i].first, context));
    }
    return at::cat(outputs);
  };
}

// Split by outputs: every rank has all rows of the input, and its columns of the output.
at::Tensor column_parallel(const DecoderWeights& weights, const FusedLinear& linear,
                           const at::Tensor& x_TD, const Batch& batch,
                           const ForwardContext& context) {
  const ComputeGroups& groups = weights.share.groups;
  if (groups.tensor != nullptr && groups.row_chunks > 1) {
    return gathered_product(x_TD, batch.row_parts, groups.row_chunks, groups.tensor,
                            product_of(linear, batch, context));
  }
  return apply_linear(linear, all_gather_rows(x_TD, batch.row_parts, groups.tensor),
                      batch.first_token, context);
}

// Split by inputs: outputs of the ranks are terms of a sum, of which a rank gets its rows.
at::Tensor row_parallel(const DecoderWeights& weights, const FusedLinear& linear,
                        const at::Tensor& x_TD, const Batch& batch, const ForwardContext& context) {
  const ComputeGroups& groups = weights.share.groups;
  if (groups.tensor != nullptr && groups.row_chunks > 1) {
    return scattered_product(x_TD, batch.row_parts, groups.row_chunks, groups.tensor,
                             product_of(linear, batch, context));
  }
  return reduce_scatter_rows(apply_linear(linear, x_TD, batch.first_token, context),
                             batch.row_parts, groups.tensor);
}

// Tokens outside this rank's part of the vocabulary have rows of zeros.
at::Tensor embed_own(const DecoderWeights& weights, const at::Tensor& ids_T) {
  const parallel::ElementRange& own = weights.share.vocabulary;
  const at::Tensor is_own = at::logical_and(ids_T.ge(own.begin), ids_T.lt(own.end));
  const at::Tensor rows = is_own.nonzero().view(-1);
  const at::Tensor found = embed_ids(weights, ids_T.index_select(0, rows) - own.begin);
  return at::zeros({ids_T.size(0), found.size(1)}, found.options()).index_copy(0, rows, found);
}

// Of the whole micro-batch, those before this rank's.
int64_t first_trained(const Batch& batch, const Group& context) {
  if (context == nullptr || batch.trained_parts.size() <= 1) return 0;
  return std::accumulate(batch.trained_parts.begin(), batch.trained_parts.begin() + context->rank(),
                         int64_t{0});
}

// Of all tokens that are trained, each counted on the rank of the context axis that has it.
void collect_losses(kernels::HeadLoss& loss, const Batch& batch, const Group& context) {
  if (context == nullptr || batch.trained_parts.size() == 1) return;
  std::vector<double> all(static_cast<size_t>(
      std::accumulate(batch.trained_parts.begin(), batch.trained_parts.end(), int64_t{0})));
  std::ranges::copy(loss.losses, all.begin() + first_trained(batch, context));
  parallel::Communicator(context->backend()->host())
      .all_reduce_ordered(all.data(), all.data(), static_cast<int64_t>(all.size()),
                          parallel::DType::kFloat64);
  loss.losses = std::move(all);
  loss.loss_sum = std::accumulate(loss.losses.begin(), loss.losses.end(), 0.0);
}

kernels::VocabShard vocab_shard(const DecoderWeights& weights) {
  const Group& group = weights.share.groups.tensor;
  const auto all_gather = [group](const at::Tensor& mine) {
    std::vector<int64_t> shape = mine.sizes().vec();
    shape.insert(shape.begin(), group->size());
    const at::Tensor part = mine.contiguous();
    at::Tensor all = at::empty(shape, mine.options());
    group->all_gather(part.const_data_ptr(), all.mutable_data_ptr(), part.numel(),
                      comm_dtype(mine.scalar_type()));
    return all;
  };
  return {.begin = weights.share.vocabulary.begin,
          .whole = weights.spec.vocab_size,
          .num_ranks = group->size(),
          .all_gather = all_gather};
}

RankShare share_of(const ModelSpec& spec, const Sharding& sharding, const ComputeGroups& groups) {
  const int64_t cp = groups.context == nullptr ? 1 : groups.context->size();
  const auto vocabulary =
      slice_of(spec, kEmbedding, {spec.vocab_size, spec.hidden_size}, sharding.slicer);
  return {.groups = groups,
          .vocabulary = vocabulary.range,
          .over_context = split_heads(local_heads(spec, sharding.slicer, cp), cp),
          .alone = split_heads(local_heads(spec, sharding.slicer, 1), 1)};
}

// Outputs of a row-parallel product are added up over ranks, and its bias must be added once.
FusedLinear gather_row_parallel(const std::string& path, const StageBuffers& buffers,
                                const LoraFinder& loras, bool adds_bias) {
  FusedLinear linear = gather_linear({path}, buffers, loras);
  if (!adds_bias) linear.pieces.front().bias_O = {};
  return linear;
}

BlockWeights gather_block(int64_t index, const LayerSpec& layer, const StageBuffers& buffers,
                          const LoraFinder& loras, bool adds_bias) {
  const std::string prefix = "model.layers." + std::to_string(index) + ".";
  const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp.";
  BlockWeights block;
  block.input_norm = weight_or_none(buffers, prefix + "input_layernorm.weight");
  block.post_attention_norm = weight_or_none(buffers, prefix + "post_attention_layernorm.weight");
  block.q_norm = weight_or_none(buffers, attention + "q_norm.weight");
  block.k_norm = weight_or_none(buffers, attention + "k_norm.weight");
  block.qkv = gather_linear({attention + "q_proj", attention + "k_proj", attention + "v_proj"},
                            buffers, loras);
  block.o_proj = gather_row_parallel(attention + "o_proj", buffers, loras, adds_bias);
  block.gate_up = gather_linear({mlp + "gate_proj", mlp + "up_proj"}, buffers, loras);
  block.down_proj = gather_row_parallel(mlp + "down_proj", buffers, loras, adds_bias);
  if (layer.mixer == MixerKind::kSlidingAttention) block.sliding_window = layer.sliding_window;
  return block;
}

}  // namespace

DecoderWeights gather_weights(const ModelSpec& spec, const AdapterOptions& adapter,
                              const StageBuffers& buffers, const Sharding& sharding,
                              const ComputeGroups& groups) {
  const LoraFinder loras(spec, adapter, buffers, sharding.slicer);
  DecoderWeights weights{.spec = spec, .share = share_of(spec, sharding, groups)};
  weights.embedding_VD = weight_or_none(buffers, kEmbedding);
  weights.embedding_lora = loras.find("model.embed_tokens");
  const bool adds_bias = sharding.slicer.index == 0;
  for (int64_t i = 0; i < spec.num_layers(); ++i) {
    weights.blocks.push_back(
        sharding.computes(i + 1)
            ? gather_block(i, spec.layers[static_cast<size_t>(i)], buffers, loras, adds_bias)
            : BlockWeights{});
  }
  weights.final_norm = weight_or_none(buffers, "model.norm.weight");
  const kernels::Weight* head = find_weight(buffers, "lm_head.weight");
  weights.head_VD = head == nullptr ? weights.embedding_VD : *head;
  if (std::optional<LoraWeights> lora = loras.find("lm_head")) weights.head_loras = {*lora};
  return weights;
}

kernels::AttentionShape attention_shape(const ModelSpec& spec, const HeadSplit& split,
                                        const BlockWeights& block) {
  return {.num_heads = split.num_heads,
          .num_kv_heads = split.num_kv_heads,
          .head_dim = spec.head_dim,
          .scale = spec.attention_scale,
          .sliding_window = block.sliding_window};
}

at::Tensor embed_forward(const DecoderWeights& weights, const Batch& batch) {
  const Group& group = weights.share.groups.tensor;
  if (group == nullptr) return embed_ids(weights, batch.input_ids_T);
  return reduce_scatter_rows(embed_own(weights, batch.input_ids_T), batch.row_parts, group);
}

at::Tensor block_forward(const DecoderWeights& weights, const BlockWeights& block,
                         const at::Tensor& x_TD, const Batch& batch, const ForwardContext& context,
                         const std::function<at::Tensor(const at::Tensor& qkv_TC)>& attend) {
  const double eps = weights.spec.rms_norm_eps;
  const at::Tensor normed_TD = kernels::rms_norm(x_TD, block.input_norm, eps);
  const at::Tensor mixed = attend(column_parallel(weights, block.qkv, normed_TD, batch, context));
  const at::Tensor attention_TD = row_parallel(weights, block.o_proj, mixed, batch, context);
  const auto [residual_TD, mlp_input_TD] =
      kernels::add_rms_norm(attention_TD, x_TD, block.post_attention_norm, eps);
  const at::Tensor gated_TF =
      kernels::swiglu(column_parallel(weights, block.gate_up, mlp_input_TD, batch, context));
  return residual_TD + row_parallel(weights, block.down_proj, gated_TF, batch, context);
}

kernels::HeadLoss head_forward(const DecoderWeights& weights, const at::Tensor& x_TD,
                               const Batch& batch, double loss_scale, bool want_grad,
                               const ForwardContext& context) {
  const at::AutoGradMode grad_mode(want_grad);
  const Group& group = weights.share.groups.tensor;
  const at::Tensor input_TD = x_TD.detach().requires_grad_(want_grad);
  const at::Tensor normed_TD =
      kernels::rms_norm(input_TD, weights.final_norm, weights.spec.rms_norm_eps);
  const at::Tensor all_TD = all_gather_rows(normed_TD.detach(), batch.row_parts, group);
  std::optional<kernels::VocabShard> shard;
  if (group != nullptr) shard = vocab_shard(weights);
  kernels::HeadLoss loss = kernels::head_loss(
      all_TD, weights.head_VD, batch.labels_T, loss_scale, want_grad,
      bind_head_loras(weights, first_trained(batch, weights.share.groups.context), context),
      shard ? &*shard : nullptr);
  collect_losses(loss, batch, weights.share.groups.context);
  if (want_grad) {
    normed_TD.backward(reduce_scatter_rows(loss.grad_x_TD, batch.row_parts, group));
    loss.grad_x_TD = input_TD.grad();
  }
  return loss;
}

at::Tensor head_logits(const DecoderWeights& weights, const at::Tensor& x_TD) {
  const at::NoGradGuard no_grad;
  const at::Tensor normed_TD =
      kernels::rms_norm(x_TD, weights.final_norm, weights.spec.rms_norm_eps);
  const at::Tensor own_TV =
      kernels::linear(normed_TD, weights.head_VD, {}, bind_head_loras(weights, 0, {}))
          .to(at::kFloat);
  const Group& group = weights.share.groups.tensor;
  if (group == nullptr) return own_TV;
  // As rows of the vocabulary, which are what the ranks have.
  std::vector<int64_t> parts = equal_parts(weights.spec.vocab_size, group->size());
  return all_gather_rows(own_TV.t().contiguous(), parts, group).t().contiguous();
}

}  // namespace hone::models
