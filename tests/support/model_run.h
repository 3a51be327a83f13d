// Running small models in tests: golden files, a training step without a trainer, folders made on
// the spot.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "core/files.h"
#include "formats/weight_files.h"
#include "models/load.h"
#include "models/model.h"
#include "tests/support/paths.h"

namespace hone::models {

using Tensors = std::map<std::string, at::Tensor>;

inline std::filesystem::path golden_model(const std::string& name) {
  return std::filesystem::path(test::kSourceDir) / "tests/golden/models" / name;
}

inline at::ScalarType test_scalar_type(formats::Dtype dtype) {
  switch (dtype) {
    case formats::Dtype::kI64:
      return at::kLong;
    case formats::Dtype::kI32:
      return at::kInt;
    case formats::Dtype::kBF16:
      return at::kBFloat16;
    case formats::Dtype::kF16:
      return at::kHalf;
    case formats::Dtype::kF64:
      return at::kDouble;
    default:
      return at::kFloat;
  }
}

// Copies of every tensor of a safetensors file.
inline Tensors read_tensors(const std::filesystem::path& path) {
  const formats::SafetensorsFile file = formats::SafetensorsFile::open(path);
  Tensors tensors;
  for (const formats::TensorEntry& entry : file.tensors()) {
    at::Tensor tensor = at::empty(entry.shape, test_scalar_type(entry.dtype));
    if (tensor.numel() > 0) {
      std::memcpy(tensor.mutable_data_ptr(), file.bytes(entry).data(), entry.num_bytes());
    }
    tensors[entry.name] = tensor;
  }
  return tensors;
}

inline formats::Dtype test_file_dtype(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kBFloat16:
      return formats::Dtype::kBF16;
    case at::kHalf:
      return formats::Dtype::kF16;
    case at::kLong:
      return formats::Dtype::kI64;
    default:
      return formats::Dtype::kF32;
  }
}

inline void write_tensors(const std::filesystem::path& path, const Tensors& tensors) {
  std::vector<formats::TensorSpec> specs;
  for (const auto& [name, tensor] : tensors) {
    specs.push_back({name, test_file_dtype(tensor), tensor.sizes().vec()});
  }
  formats::SafetensorsWriter writer(path, formats::plan_safetensors(specs));
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor whole = tensor.contiguous();
    writer.write(name, {static_cast<const std::byte*>(whole.const_data_ptr()), whole.nbytes()});
  }
  writer.commit();
}

inline Tensors saved_tensors(const Model& model, const std::string& save_dtype = "") {
  Tensors tensors;
  for (const NamedTensor& named : tensors_to_save(model, save_dtype)) {
    tensors[named.name] = named.get().view(named.shape);
  }
  return tensors;
}

template <typename T>
std::vector<int32_t> to_ints(const at::Tensor& tensor) {
  const T* data = tensor.const_data_ptr<T>();
  return {data, data + tensor.numel()};
}

inline Batch golden_batch(const Model& model, const Tensors& golden) {
  return make_batch(
      model, to_ints<int64_t>(golden.at("input_ids")), to_ints<int64_t>(golden.at("position_ids")),
      to_ints<int64_t>(golden.at("labels")), to_ints<int32_t>(golden.at("cu_doc_lens")));
}

// One document of the given ids; label i is id i + 1.
inline Batch document_batch(const Model& model, const std::vector<int32_t>& ids) {
  std::vector<int32_t> positions(ids.size()), labels(ids.begin() + 1, ids.end());
  std::iota(positions.begin(), positions.end(), 0);
  labels.push_back(-100);
  const std::vector<int32_t> lengths = {0, static_cast<int32_t>(ids.size())};
  return make_batch(model, ids, positions, labels, lengths);
}

// Input of the head stage [T, D].
inline at::Tensor run_forward(const Model& model, const Batch& batch,
                              const ForwardContext& context = {}) {
  const at::NoGradGuard no_grad;
  at::Tensor x;
  for (size_t i = 0; i + 1 < model.stages.size(); ++i) {
    x = model.stages[i].forward(x, batch, context);
  }
  return x;
}

inline at::Tensor all_logits(const Model& model, const Batch& batch) {
  return model.logits(run_forward(model, batch), {});
}

// Forward with every stage's graph kept, then backward stage by stage into the stages' gradients
// (zeroed first). Returns the sum of losses times `loss_scale`.
inline double run_step(Model& model, const Batch& batch, double loss_scale,
                       const ForwardContext& context = {.training = true}) {
  for (Stage& stage : model.stages) stage.grads.zero_();
  const at::AutoGradMode grad_mode(true);
  std::vector<at::Tensor> inputs, outputs;
  for (size_t i = 0; i + 1 < model.stages.size(); ++i) {
    inputs.push_back(i == 0 ? at::Tensor() : outputs.back().detach().requires_grad_(true));
    outputs.push_back(model.stages[i].forward(inputs.back(), batch, context));
  }
  const kernels::HeadLoss loss =
      model.head(outputs.back().detach(), batch, loss_scale, true, context);
  at::Tensor grad = loss.grad_x_TD;
  for (size_t i = outputs.size(); i-- > 0;) {
    if (!outputs[i].requires_grad()) continue;
    outputs[i].backward(grad);
    if (i > 0) grad = inputs[i].grad();
  }
  return loss.loss_sum * loss_scale;
}

inline int64_t num_trained(const Batch& batch) {
  return batch.labels_T.ne(-100).sum().item<int64_t>();
}

inline double max_difference(const at::Tensor& x, const at::Tensor& y) {
  return (x.to(at::kDouble) - y.to(at::kDouble)).abs().max().item<double>();
}

// |x - y| / |y|, norms in float64.
inline double relative_difference(const at::Tensor& x, const at::Tensor& y) {
  const at::Tensor exact = y.to(at::kDouble);
  return ((x.to(at::kDouble) - exact).norm() / exact.norm().clamp_min(1e-30)).item<double>();
}

}  // namespace hone::models
