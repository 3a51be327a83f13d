// Puts a Model together from its spec and filled stage buffers.
#pragma once

#include "models/model.h"
#include "models/stage_buffers.h"

namespace hone::models {

Model build_model(ModelSpec spec, AdapterOptions adapter, at::ScalarType compute_dtype,
                  at::Device device, const Sharding& sharding, const ComputeGroups& groups,
                  StageBuffers buffers);

}  // namespace hone::models
