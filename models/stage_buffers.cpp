#include "models/stage_buffers.h"

#include "kernels/allocator.h"

namespace hone::models {
namespace {

std::string stage_name(int64_t index, int64_t num_stages) {
  if (index == 0) return "embed";
  if (index == num_stages - 1) return "head";
  return "layers." + std::to_string(index - 1);
}

// The next `numel` elements of a flat buffer as a tensor of `shape`.
at::Tensor view_at(const at::Tensor& flat, int64_t offset, const PlannedParameter& planned) {
  return flat.narrow(0, offset, planned.numel()).view(planned.shape);
}

struct FlatBuffers {
  at::Tensor master, grads, compute, frozen;
};

FlatBuffers allocate_flat(int64_t num_trainable, int64_t num_frozen, at::ScalarType compute_dtype,
                          at::Device device) {
  const auto master_options = at::TensorOptions().dtype(at::kFloat).device(device);
  const auto compute_options = at::TensorOptions().dtype(compute_dtype).device(device);
  FlatBuffers flat;
  flat.master = at::empty({num_trainable}, master_options);
  flat.grads = kernels::lazy_zeros(num_trainable, device);
  flat.compute =
      compute_dtype == at::kFloat ? flat.master : at::empty({num_trainable}, compute_options);
  flat.frozen = at::empty({num_frozen}, compute_options);
  return flat;
}

}  // namespace

StageBuffers allocate_stages(std::span<const PlannedParameter> plan, int64_t num_stages,
                             at::ScalarType compute_dtype, at::Device device,
                             const MappedWeights& mapped) {
  StageBuffers result;
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;  // compute copy, master
  for (int64_t index = 0; index < num_stages; ++index) {
    int64_t num_trainable = 0, num_frozen = 0;
    for (const PlannedParameter& planned : plan) {
      if (planned.stage != index || mapped.contains(planned.key)) continue;
      (planned.trainable ? num_trainable : num_frozen) += planned.numel();
    }
    const FlatBuffers flat = allocate_flat(num_trainable, num_frozen, compute_dtype, device);
    Stage stage{
        .name = stage_name(index, num_stages), .trainable = flat.master, .grads = flat.grads};
    for (const bool trainable : {true, false}) {
      int64_t offset = 0;
      for (const PlannedParameter& planned : plan) {
        if (planned.stage != index || planned.trainable != trainable) continue;
        Parameter parameter{.name = planned.name, .shape = planned.shape};
        kernels::Weight weight;
        if (const auto found = mapped.find(planned.key); found != mapped.end()) {
          parameter.value = found->second;
          result.weights[planned.key] = {parameter.value, {}};
          stage.parameters.push_back(std::move(parameter));
          continue;
        }
        if (trainable) {
          parameter.value = view_at(flat.master, offset, planned);
          parameter.grad = view_at(flat.grads, offset, planned);
          weight = {view_at(flat.compute, offset, planned), parameter.grad};
        } else {
          parameter.value = view_at(flat.frozen, offset, planned);
          weight = {parameter.value, {}};
        }
        offset += planned.numel();
        result.weights[planned.key] = weight;
        stage.parameters.push_back(std::move(parameter));
      }
    }
    if (num_trainable > 0 && compute_dtype != at::kFloat) {
      copies.emplace_back(flat.compute, flat.master);
    }
    result.stages.push_back(std::move(stage));
  }
  result.refresh = [copies]() mutable {
    for (auto& [compute, master] : copies) compute.copy_(master);
  };
  return result;
}

at::Tensor adjacent_rows(std::span<const at::Tensor> parts) {
  const at::Tensor& first = parts.front();
  int64_t rows = 0, next = first.storage_offset();
  for (const at::Tensor& part : parts) {
    if (!part.defined() || !part.is_alias_of(first) || part.storage_offset() != next) return {};
    next += part.numel();
    rows += part.size(0);
  }
  std::vector<int64_t> shape = first.sizes().vec();
  shape[0] = rows;
  return first.as_strided(shape, first.strides(), first.storage_offset());
}

}  // namespace hone::models
