#include "models/decoder.h"

#include <ATen/core/grad_mode.h>

#include "models/lora_embedding.h"
#include "models/modules.h"
#include "models/parameter_plan.h"

namespace hone::models {
namespace {

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
  LoraFinder(const ModelSpec& spec, const AdapterOptions& adapter, const StageBuffers& buffers)
      : buffers_(buffers), adapter_(adapter) {
    uint32_t stream = 0;
    for (const Module& module : adaptable_modules(spec)) {
      if (find_weight(buffers, module.path + ".lora_A") != nullptr)
        streams_[module.path] = stream++;
    }
  }

  std::optional<LoraWeights> find(const std::string& path) const {
    const auto it = streams_.find(path);
    if (it == streams_.end()) return std::nullopt;
    return LoraWeights{.a_RD = weight_or_none(buffers_, path + ".lora_A"),
                       .b_OR = weight_or_none(buffers_, path + ".lora_B"),
                       .scale = lora_scale(adapter_),
                       .dropout = adapter_.lora_dropout,
                       .stream = it->second};
  }

 private:
  const StageBuffers& buffers_;
  const AdapterOptions& adapter_;
  std::unordered_map<std::string, uint32_t> streams_;
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

kernels::Lora bind_lora(const LoraWeights& lora, int64_t begin, const ForwardContext& context) {
  return {.a_RD = lora.a_RD,
          .b_OR = lora.b_OR,
          .scale = lora.scale,
          .begin = begin,
          .dropout = context.training ? lora.dropout : 0.0,
          .dropout_seed = context.seed,
          .dropout_step = context.micro_step,
          .dropout_stream = lora.stream};
}

std::vector<kernels::Lora> bind_head_loras(const DecoderWeights& weights,
                                           const ForwardContext& context) {
  std::vector<kernels::Lora> bound;
  for (const LoraWeights& lora : weights.head_loras) bound.push_back(bind_lora(lora, 0, context));
  return bound;
}

BlockWeights gather_block(int64_t index, const LayerSpec& layer, const StageBuffers& buffers,
                          const LoraFinder& loras) {
  const std::string prefix = "model.layers." + std::to_string(index) + ".";
  const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp.";
  BlockWeights block;
  block.input_norm = weight_or_none(buffers, prefix + "input_layernorm.weight");
  block.post_attention_norm = weight_or_none(buffers, prefix + "post_attention_layernorm.weight");
  block.q_norm = weight_or_none(buffers, attention + "q_norm.weight");
  block.k_norm = weight_or_none(buffers, attention + "k_norm.weight");
  block.qkv = gather_linear({attention + "q_proj", attention + "k_proj", attention + "v_proj"},
                            buffers, loras);
  block.o_proj = gather_linear({attention + "o_proj"}, buffers, loras);
  block.gate_up = gather_linear({mlp + "gate_proj", mlp + "up_proj"}, buffers, loras);
  block.down_proj = gather_linear({mlp + "down_proj"}, buffers, loras);
  if (layer.mixer == MixerKind::kSlidingAttention) block.sliding_window = layer.sliding_window;
  return block;
}

}  // namespace

DecoderWeights gather_weights(const ModelSpec& spec, const AdapterOptions& adapter,
                              const StageBuffers& buffers) {
  const LoraFinder loras(spec, adapter, buffers);
  DecoderWeights weights{.spec = spec};
  weights.embedding_VD = weight_or_none(buffers, "model.embed_tokens.weight");
  weights.embedding_lora = loras.find("model.embed_tokens");
  for (int64_t i = 0; i < spec.num_layers(); ++i) {
    weights.blocks.push_back(gather_block(i, spec.layers[i], buffers, loras));
  }
  weights.final_norm = weight_or_none(buffers, "model.norm.weight");
  const kernels::Weight* head = find_weight(buffers, "lm_head.weight");
  weights.head_VD = head == nullptr ? weights.embedding_VD : *head;
  if (std::optional<LoraWeights> lora = loras.find("lm_head")) weights.head_loras = {*lora};
  return weights;
}

at::Tensor apply_linear(const FusedLinear& linear, const at::Tensor& x_TD,
                        const ForwardContext& context) {
  std::vector<at::Tensor> outputs;
  for (const FusedLinear::Piece& piece : linear.pieces) {
    std::vector<kernels::Lora> loras;
    for (const auto& [lora, begin] : piece.loras) loras.push_back(bind_lora(lora, begin, context));
    outputs.push_back(kernels::linear(x_TD, piece.weight_OD, piece.bias_O, loras));
  }
  return outputs.size() == 1 ? outputs.front() : at::cat(outputs, 1);
}

kernels::AttentionShape attention_shape(const ModelSpec& spec, const BlockWeights& block) {
  return {.num_heads = spec.num_heads,
          .num_kv_heads = spec.num_kv_heads,
          .head_dim = spec.head_dim,
          .scale = spec.attention_scale,
          .sliding_window = block.sliding_window};
}

at::Tensor embed_forward(const DecoderWeights& weights, const at::Tensor& ids_T) {
  const at::Tensor x_TD = kernels::embedding(ids_T, weights.embedding_VD);
  if (!weights.embedding_lora) return x_TD;
  const LoraWeights& lora = *weights.embedding_lora;
  return add_lora_embedding(x_TD, ids_T, lora.a_RD, lora.b_OR, lora.scale);
}

at::Tensor block_forward(const DecoderWeights& weights, const BlockWeights& block,
                         const at::Tensor& x_TD, const ForwardContext& context,
                         const std::function<at::Tensor(const at::Tensor& qkv_TC)>& attend) {
  const double eps = weights.spec.rms_norm_eps;
  const at::Tensor normed_TD = kernels::rms_norm(x_TD, block.input_norm, eps);
  const at::Tensor mixed = attend(apply_linear(block.qkv, normed_TD, context));
  const at::Tensor attention_TD = apply_linear(block.o_proj, mixed, context);
  const auto [residual_TD, mlp_input_TD] =
      kernels::add_rms_norm(attention_TD, x_TD, block.post_attention_norm, eps);
  const at::Tensor gated_TF = kernels::swiglu(apply_linear(block.gate_up, mlp_input_TD, context));
  return residual_TD + apply_linear(block.down_proj, gated_TF, context);
}

kernels::HeadLoss head_forward(const DecoderWeights& weights, const at::Tensor& x_TD,
                               const Batch& batch, double loss_scale, bool want_grad,
                               const ForwardContext& context) {
  const at::AutoGradMode grad_mode(want_grad);
  const at::Tensor input_TD = x_TD.detach().requires_grad_(want_grad);
  const at::Tensor normed_TD =
      kernels::rms_norm(input_TD, weights.final_norm, weights.spec.rms_norm_eps);
  kernels::HeadLoss loss =
      kernels::head_loss(normed_TD.detach(), weights.head_VD, batch.labels_T, loss_scale, want_grad,
                         bind_head_loras(weights, context));
  if (want_grad) {
    normed_TD.backward(loss.grad_x_TD);
    loss.grad_x_TD = input_TD.grad();
  }
  return loss;
}

at::Tensor head_logits(const DecoderWeights& weights, const at::Tensor& x_TD) {
  const at::NoGradGuard no_grad;
  const at::Tensor normed_TD =
      kernels::rms_norm(x_TD, weights.final_norm, weights.spec.rms_norm_eps);
  return kernels::linear(normed_TD, weights.head_VD, {}, bind_head_loras(weights, {}))
      .to(at::kFloat);
}

}  // namespace hone::models
