#include "models/stage_buffers.h"

#include <algorithm>

#include "kernels/allocator.h"
#include "models/flat_memory.h"
#include "models/spec/stage_name.h"

namespace hone::models {
namespace {

// The next `numel` elements of a flat buffer as a tensor of `shape`.
at::Tensor view_at(const at::Tensor& flat, int64_t offset, const PlannedParameter& planned) {
  return flat.narrow(0, offset, planned.num_held()).view(planned.held_shape());
}

at::Tensor flat_buffer(int64_t count, at::ScalarType dtype, at::Device device, bool has_memory) {
  return has_memory ? at::empty({count}, at::TensorOptions().dtype(dtype).device(device))
                    : flat_without_memory(count, dtype, device);
}

at::Tensor view_of(const at::Tensor& flat, const parallel::ElementRange& range) {
  return flat.narrow(0, range.begin, range.size());
}

bool is_held(std::span<const PlannedParameter> plan, int64_t stage) {
  return std::ranges::any_of(
      plan, [&](const auto& planned) { return planned.stage == stage && planned.is_held; });
}

// The flat buffers of a stage and the part of them that is kept.
void allocate_flat(Stage& stage, int64_t num_trainable, int64_t num_frozen,
                   at::ScalarType compute_dtype, at::Device device, const Sharding& sharding) {
  const bool in_float = compute_dtype == at::kFloat;
  const bool whole_parameters = !sharding.shards(parallel::kShardParameters);
  const bool whole_masters = in_float ? whole_parameters : sharding.count == 1;
  const bool whole_grads = !sharding.shards(parallel::kShardGradients);
  stage.trainable = flat_buffer(num_trainable, at::kFloat, device, whole_masters);
  stage.compute = in_float ? stage.trainable
                           : flat_buffer(num_trainable, compute_dtype, device, whole_parameters);
  stage.grads = whole_grads ? kernels::lazy_zeros(num_trainable, device)
                            : flat_without_memory(num_trainable, at::kFloat, device);
  stage.frozen = flat_buffer(num_frozen, compute_dtype, device, whole_parameters);

  KeptPart& kept = stage.kept;
  kept.range = parallel::part_of(num_trainable, sharding.index, sharding.count);
  const auto written =
      parallel::part_of(kept.range.size(), sharding.replica, sharding.num_replicas);
  kept.written = {kept.range.begin + written.begin, kept.range.begin + written.end};
  kept.trainable = whole_masters ? view_of(stage.trainable, kept.range)
                                 : flat_buffer(kept.range.size(), at::kFloat, device, true);
  kept.grads = whole_grads ? view_of(stage.grads, kept.range)
                           : kernels::lazy_zeros(kept.range.size(), device);
  kept.frozen_range = whole_parameters
                          ? parallel::ElementRange{0, num_frozen}
                          : parallel::part_of(num_frozen, sharding.index, sharding.count);
  kept.frozen = whole_parameters
                    ? stage.frozen
                    : flat_buffer(kept.frozen_range.size(), compute_dtype, device, true);
}

}  // namespace

StageBuffers allocate_stages(std::span<const PlannedParameter> plan, int64_t num_stages,
                             at::ScalarType compute_dtype, at::Device device,
                             const MappedWeights& mapped, const Sharding& sharding) {
  StageBuffers result{.has_tied_head = has_tied_head(plan)};
  for (int64_t index = 0; index < num_stages; ++index) {
    int64_t num_trainable = 0, num_frozen = 0;
    for (const PlannedParameter& planned : plan) {
      if (planned.stage != index || mapped.contains(planned.key)) continue;
      (planned.trainable ? num_trainable : num_frozen) += planned.num_held();
    }
    Stage stage{.name = stage_name(index, num_stages)};
    stage.is_held = is_held(plan, index);
    stage.is_copy = stage.is_held && !sharding.computes(index);
    allocate_flat(stage, num_trainable, num_frozen, compute_dtype, device, sharding);
    for (const bool trainable : {true, false}) {
      int64_t offset = 0;
      for (const PlannedParameter& planned : plan) {
        if (planned.stage != index || planned.trainable != trainable) continue;
        Parameter parameter{.name = planned.name,
                            .shape = planned.shape,
                            .slice = planned.slice,
                            .is_trainable = trainable};
        kernels::Weight weight;
        if (const auto found = mapped.find(planned.key); found != mapped.end()) {
          parameter.value = found->second;
          result.weights[planned.key] = {parameter.value, {}};
          stage.parameters.push_back(std::move(parameter));
          continue;
        }
        if (trainable) {
          parameter.value = view_at(stage.trainable, offset, planned);
          parameter.grad = view_at(stage.grads, offset, planned);
          weight = {view_at(stage.compute, offset, planned), parameter.grad};
        } else {
          parameter.value = view_at(stage.frozen, offset, planned);
          weight = {parameter.value, {}};
        }
        offset += planned.num_held();
        if (planned.is_held) result.weights[planned.key] = weight;
        stage.parameters.push_back(std::move(parameter));
      }
    }
    result.stages.push_back(std::move(stage));
  }
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
