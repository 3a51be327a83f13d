// The flat buffers of the stages and the parameter views into them.
#pragma once

#include <ATen/ATen.h>

#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/ops.h"
#include "models/mapped_weights.h"
#include "models/model.h"
#include "models/spec/parameter_plan.h"

namespace hone::models {

struct StageBuffers {
  std::vector<Stage> stages;  // names, parameters and buffers; forward is not set
  // What a stage computes with, by PlannedParameter::key: the compute-dtype value and, if
  // trainable, the float32 gradient.
  std::unordered_map<std::string, kernels::Weight> weights;
  bool has_tied_head = false;
};

// Allocates, for every stage, a float32 buffer and a gradient buffer of its trainable parameters, a
// buffer of its frozen ones in `compute_dtype` and, unless that is float32, a compute copy of the
// trainable ones. Contents are undefined but for the gradients, which are zero.
// Frozen parameters in `mapped` take no buffer: their values are these tensors. Of a sharded model
// memory is allocated for what the rank keeps.
StageBuffers allocate_stages(std::span<const PlannedParameter> plan, int64_t num_stages,
                             at::ScalarType compute_dtype, at::Device device,
                             const MappedWeights& mapped = {}, const Sharding& sharding = {});

// One view over tensors that lie one after the other in the same storage, rows put together ([3, D]
// and [2, D] give [5, D]); undefined when they don't.
at::Tensor adjacent_rows(std::span<const at::Tensor> parts);

}  // namespace hone::models
