// A decoder as a list of stages (embedding, block 0..n-1, final norm + head), each with its
// parameters in one flat buffer. The trainer walks the list; nothing here knows about steps,
// optimizers or files.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "models/sharding.h"
#include "models/spec/adapter.h"
#include "models/spec/model_spec.h"
#include "parallel/shards.h"

namespace hone::models {

// A micro-batch as tensors. T tokens of documents laid end to end, N head dim. Ranks of the context
// axis have a part of the tokens each (token_parts), and of these a rank of the tensor axis has a
// part wherever it computes nothing that is split over that axis (row_parts).
struct Batch {
  at::Tensor input_ids_T;  // int64, of this rank's part of the context axis
  at::Tensor labels_T;     // likewise; -100 = not trained; undefined when only logits are wanted
  at::Tensor cos_TN2, sin_TN2;         // of all tokens
  std::vector<int32_t> cu_doc_lens;    // likewise
  std::vector<int64_t> token_parts;    // tokens of each rank of the context axis
  std::vector<int64_t> row_parts;      // of this rank's, those of each rank of the tensor axis
  std::vector<int64_t> trained_parts;  // trained tokens of each rank of the context axis
  int64_t first_token = 0;             // of this rank's part of the context axis
  int64_t num_rows = 0;  // of an activation that goes from stage to stage, on this rank
};

// What LoRA dropout depends on, beside the element: nothing is drawn from a generator.
struct ForwardContext {
  bool training = false;
  uint64_t seed = 0;
  uint64_t micro_step = 0;  // number of this micro-batch since the start of the run
};

struct Parameter {
  std::string name;             // as in the file: HF name, or PEFT key of an adapter tensor
  std::string file_dtype;       // of the tensor it was read from ("BF16"); "F32" if fresh
  std::vector<int64_t> shape;   // of the whole tensor
  parallel::TensorSlice slice;  // of it that this rank has
  bool is_trainable = false;
  // float32 master if trainable; compute dtype if frozen. A view of the flat buffer, of the slice's
  // shape; without elements where the stage is not held.
  at::Tensor value;
  at::Tensor grad;  // float32 view of the flat gradient buffer; undefined if frozen
};

// What a rank keeps of a stage between steps: everything on one rank.
struct KeptPart {
  parallel::ElementRange range;    // of the trainable elements
  parallel::ElementRange written;  // those of them that this rank writes to files
  at::Tensor trainable;  // float32 masters of these; a view of Stage::trainable, or its own
  at::Tensor grads;      // float32, where the gradient of the step ends up; likewise
  parallel::ElementRange frozen_range;
  at::Tensor frozen;
};

struct Stage {
  std::string name;                   // "embed", "layers.0", "head"
  std::vector<Parameter> parameters;  // trainable ones first, in flat order, then the frozen
  bool is_held = true;   // here: computed on this rank, or a tied embedding beside the head
  bool is_copy = false;  // held by another rank too, which writes it and counts its gradient
  // Whole flat buffers, which the parameters are views of. Their memory may come and go
  // (flat_memory.h): of `compute` and `frozen` from level 3 on, of `grads` from level 2 on. In a
  // dtype that is not float32 a sharded `trainable` never has any.
  at::Tensor trainable;  // float32 masters [num_trainable]; may be empty
  at::Tensor grads;      // float32, same size
  at::Tensor compute;    // same size: what is computed with; `trainable` itself in float32
  at::Tensor frozen;     // [num_frozen], without those that stay in a file's memory map
  KeptPart kept;
  int64_t shares_with = -1;  // a stage whose parameters this one computes with too: a tied head's
  bool backward_reads_parameters = true;
  // [T, D] -> [T, D] under autograd; the embedding stage ignores x, the head stage has none (see
  // head).
  std::function<at::Tensor(const at::Tensor& x_TD, const Batch&, const ForwardContext&)> forward;
};

struct DecoderWeights;

struct Model {
  ModelSpec spec;
  std::shared_ptr<const DecoderWeights> weights;  // views into the stages, for decoding
  AdapterOptions adapter;                         // r == 0: full fine-tuning
  at::ScalarType compute_dtype = at::kFloat;
  at::Device device = at::kCPU;
  Sharding sharding;
  std::vector<Stage> stages;
  // Final norm, head and loss of the last stage; gradients of its weights are added, grad_x_TD is
  // d(loss * scale)/dx.
  std::function<kernels::HeadLoss(const at::Tensor& x_TD, const Batch&, double loss_scale,
                                  bool want_grad, const ForwardContext&)>
      head;
  // Logits [rows, V] in float32 of the given rows of x_TD (undefined rows: all), which every rank
  // of the tensor axis has whole (all_rows). Collective over it.
  std::function<at::Tensor(const at::Tensor& x_TD, const at::Tensor& rows)> logits;
};

// Brings what is computed with up to date with the masters that this rank keeps; nothing to do in
// float32. Of a sharded model the other ranks' parts are gathered besides (trainer/gather.h).
void refresh_compute_weights(Model& model);

// `over_context`: tokens are split over the context axis as in training; not where every rank of it
// computes the same, as for generating.
Batch make_batch(const Model& model, std::span<const int32_t> input_ids,
                 std::span<const int32_t> position_ids, std::span<const int32_t> labels,
                 std::span<const int32_t> cu_doc_lens, bool over_context = true);

// The rows of an activation that this rank has, and those of the other ranks of the tensor axis.
// Collective over it.
at::Tensor all_rows(const Model& model, const at::Tensor& x_TD, const Batch& batch);

// Of whole tensors, on whichever ranks they are.
int64_t num_trainable(const Model& model);
int64_t num_trainable(const Stage& stage);
int64_t num_parameters(const Model& model);

}  // namespace hone::models
