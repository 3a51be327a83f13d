// The forward of a decoder over its weights, by stage. Weights are views into the stages' flat
// buffers.
//
// Shape legend: T tokens, D hidden, H query heads, K key/value heads, N head dim, F MLP width, V
// vocabulary.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "models/head_exchange.h"
#include "models/model.h"
#include "models/stage_buffers.h"

namespace hone::models {

// Adapter of one module; `stream` keys its dropout.
struct LoraWeights {
  kernels::Weight a_RD, b_OR;
  double scale = 1.0, dropout = 0.0;
  uint32_t stream = 0;
  // Where its input begins in that of the whole module, and how wide that is.
  int64_t first_column = 0, num_columns = 0;
};

// Linear modules that read the same input, with their outputs side by side. Modules that lie next
// to each other in a flat buffer, all frozen or all trainable, are one piece: one GEMM.
struct FusedLinear {
  struct Piece {
    kernels::Weight weight_OD, bias_O;
    std::vector<std::pair<LoraWeights, int64_t>>
        loras;  // with the first output column of each in this piece
  };
  std::vector<Piece> pieces;
};

struct BlockWeights {
  kernels::Weight input_norm, post_attention_norm, q_norm, k_norm;
  FusedLinear qkv, o_proj, gate_up, down_proj;
  int64_t sliding_window = 0;  // 0: none
};

// What a rank computes of layers that are split over others (shard_plan.h).
struct RankShare {
  ComputeGroups groups;
  parallel::ElementRange vocabulary;
  // Of attention: over the context axis in training, on this rank alone in decoding.
  HeadSplit over_context, alone;
};

struct DecoderWeights {
  ModelSpec spec;
  RankShare share;
  kernels::Weight embedding_VD;
  std::optional<LoraWeights> embedding_lora;  // a [R, V], b [D, R]
  std::vector<BlockWeights> blocks;
  kernels::Weight final_norm;
  kernels::Weight head_VD;  // the embedding's where tied
  std::vector<LoraWeights> head_loras;
};

// Of the stages that the rank computes; others stay without weights.
DecoderWeights gather_weights(const ModelSpec& spec, const AdapterOptions& adapter,
                              const StageBuffers& buffers, const Sharding& sharding,
                              const ComputeGroups& groups);

// The heads of attention as `split` deals them out.
kernels::AttentionShape attention_shape(const ModelSpec& spec, const HeadSplit& split,
                                        const BlockWeights& block);

// Activations between stages have the rows of this rank's part of the tensor axis (row_parallel.h);
// all calls are collective over that axis.
at::Tensor embed_forward(const DecoderWeights& weights, const Batch& batch);
// `attend` maps the fused q|k|v [T, (H + 2K) N] of the rank's tokens and heads to [T, H N];
// decoding brings its own.
at::Tensor block_forward(const DecoderWeights& weights, const BlockWeights& block,
                         const at::Tensor& x_TD, const Batch& batch, const ForwardContext& context,
                         const std::function<at::Tensor(const at::Tensor& qkv_TC)>& attend);
// The loss is that of the whole micro-batch on every rank of the tensor and context axes;
// collective over both.
kernels::HeadLoss head_forward(const DecoderWeights& weights, const at::Tensor& x_TD,
                               const Batch& batch, double loss_scale, bool want_grad,
                               const ForwardContext& context);
// float32 [rows of x, V]; x is whole on every rank of the tensor axis.
at::Tensor head_logits(const DecoderWeights& weights, const at::Tensor& x_TD);

}  // namespace hone::models
