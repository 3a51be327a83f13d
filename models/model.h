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
#include "models/adapter.h"
#include "models/spec/model_spec.h"

namespace hone::models {

// A micro-batch as tensors. T tokens of documents laid end to end, N head dim.
struct Batch {
  at::Tensor input_ids_T;  // int64
  at::Tensor labels_T;     // int64, -100 = not trained; undefined when only logits are wanted
  at::Tensor cos_TN2, sin_TN2;
  std::vector<int32_t> cu_doc_lens;
};

// What LoRA dropout depends on, beside the element: nothing is drawn from a generator.
struct ForwardContext {
  bool training = false;
  uint64_t seed = 0;
  uint64_t micro_step = 0;  // number of this micro-batch since the start of the run
};

struct Parameter {
  std::string name;        // as in the file: HF name, or PEFT key of an adapter tensor
  std::string file_dtype;  // of the tensor it was read from ("BF16"); "F32" if fresh
  std::vector<int64_t> shape;
  at::Tensor
      value;  // float32 master if trainable; compute dtype if frozen. A view of the flat buffer.
  at::Tensor grad;  // float32 view of the flat gradient buffer; undefined if frozen
};

struct Stage {
  std::string name;                   // "embed", "layers.0", "head"
  std::vector<Parameter> parameters;  // trainable ones first, in flat order, then the frozen
  at::Tensor trainable;               // flat float32 [num_trainable]; may be empty
  at::Tensor grads;                   // flat float32, same size
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
  std::vector<Stage> stages;
  // Final norm, head and loss of the last stage; gradients of its weights are added, grad_x_TD is
  // d(loss * scale)/dx.
  std::function<kernels::HeadLoss(const at::Tensor& x_TD, const Batch&, double loss_scale,
                                  bool want_grad, const ForwardContext&)>
      head;
  // Logits [rows, V] in float32 of the given rows of x_TD (undefined rows: all).
  std::function<at::Tensor(const at::Tensor& x_TD, const at::Tensor& rows)> logits;
  // Copies the float32 masters into the compute copies after an update; nothing to do in float32.
  std::function<void()> refresh_compute_weights;
};

Batch make_batch(const Model& model, std::span<const int32_t> input_ids,
                 std::span<const int32_t> position_ids, std::span<const int32_t> labels,
                 std::span<const int32_t> cu_doc_lens);

int64_t num_trainable(const Model& model);
int64_t num_parameters(const Model& model);

}  // namespace hone::models
