// Coarse operators of a decoder with hand-written backward, as autograd functions. CPU tensors
// (float32, bfloat16) run on our kernels, dispatched at run time to AVX-512, AVX2 or portable code;
// other devices run on ATen.
//
// Shape legend: T tokens of all documents laid end to end, D hidden, H query heads, K key/value
// heads, N head dim, F MLP width, V vocabulary, R LoRA rank.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace hone::kernels {

// A trainable or frozen tensor and where its gradient goes. `grad` (same shape, float32 or the
// weight's dtype) is accumulated into; undefined = frozen.
struct Weight {
  at::Tensor value;
  at::Tensor grad;
  bool defined() const { return value.defined(); }
  bool trainable() const { return grad.defined(); }
};

// A LoRA adapter of one linear slice: output columns [begin, begin + rows of b) of a fused
// projection.
struct Lora {
  Weight a_RD;                                  // [R, in]
  Weight b_OR;                                  // [out, R]
  double scale = 1.0;                           // lora_alpha / r
  int64_t begin = 0;                            // first output column it adds to
  double dropout = 0.0;                         // of its input; 0 outside training
  uint64_t dropout_seed = 0, dropout_step = 0;  // counter-based mask: (seed, stream, step, element)
  uint32_t dropout_stream = 0;
  // Where x is a part of the whole input: its first row and column there, and how many columns that
  // has (0: x has them all). Element (i, j) of x is number (first_row + i) * columns + first_column
  // + j of the mask.
  int64_t dropout_first_row = 0, dropout_first_column = 0, dropout_columns = 0;
};

// y_TO = x_TD w_OD^T + b_O + sum of LoRA terms. Weight gradients are added straight into `grad`.
at::Tensor linear(const at::Tensor& x_TD, const Weight& w_OD, const Weight& bias_O,
                  const std::vector<Lora>& loras);

// y = x * rsqrt(mean(x^2) + eps) * w, statistics in float32.
at::Tensor rms_norm(const at::Tensor& x_TD, const Weight& w_D, double eps);

// (h, y): h = x + residual, y = rms_norm(h). Saves one pass over memory.
std::pair<at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& x_TD,
                                               const at::Tensor& residual_TD, const Weight& w_D,
                                               double eps);

// silu(gate) * up for the fused [T, 2F] projection, gate first.
at::Tensor swiglu(const at::Tensor& gate_up_T2F);

struct AttentionShape {
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
  double scale = 1.0;
  int64_t sliding_window =
      0;  // 0: full causal; w: a query sees itself and the w-1 positions before it
};

// Causal attention inside each document, with half-rotation RoPE applied to q and k. qkv_TC holds
// q|k|v side by side, C = (H + 2K) * N. cos_TN2 / sin_TN2 are [T, N/2] tables gathered by position.
// Returns [T, H * N]. q_norm_N / k_norm_N (Qwen3): RMSNorm of every head before RoPE; undefined =
// none.
at::Tensor attention(const at::Tensor& qkv_TC, const at::Tensor& cos_TN2, const at::Tensor& sin_TN2,
                     const std::vector<int32_t>& cu_doc_lens, const AttentionShape& shape,
                     const Weight& q_norm_N, const Weight& k_norm_N, double norm_eps);

// The embedding lookup; its backward adds rows into w_VD.grad in token order (deterministic).
at::Tensor embedding(const at::Tensor& ids_T, const Weight& w_VD);

struct HeadLoss {
  double loss_sum = 0;         // sum of the negative log likelihoods of trained tokens, not divided
  std::vector<double> losses;  // those, one a trained token, in order
  at::Tensor grad_x_TD;        // d(loss_sum * loss_scale) / dx; undefined when want_grad is false
};

// A vocabulary over several ranks: w_VD holds rows [begin, begin + V) of `whole`; V may be 0 and
// differ between ranks.
struct VocabShard {
  int64_t begin = 0, whole = 0;
  int64_t num_ranks = 1;
  // [rows, 2] float64 of this rank -> [ranks, rows, 2] of all, in order of rank, on the same
  // device. Collective.
  std::function<at::Tensor(const at::Tensor& mine)> all_gather;
};

// Head projection and cross-entropy in row chunks, gradients computed in the forward, logits never
// whole; rows whose label is -100 are skipped. loss_scale is 1 / (trained tokens of the step).
// Weight gradient goes to w_VD.grad. Throws kBadInput for a label outside the vocabulary.
//
// With a shard: collective over its ranks, which have the same x, labels and scale; adapters' B
// holds the rows of the shard. Every rank gets the losses of the whole vocabulary, the same bits;
// its grad_x_TD and gradients of adapters' A are terms of sums over the ranks. Per row and rank two
// numbers are exchanged, never logits: one all_gather a chunk, none without a trained row.
HeadLoss head_loss(const at::Tensor& x_TD, const Weight& w_VD, const at::Tensor& labels_T,
                   double loss_scale, bool want_grad, const std::vector<Lora>& loras = {},
                   const VocabShard* shard = nullptr);

}  // namespace hone::kernels
