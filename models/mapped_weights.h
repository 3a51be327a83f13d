// Frozen weights that are used where they lie in the file's memory map: nothing is read before it
// is needed, nothing is copied, and processes on one machine share the pages.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "models/file_tensors.h"
#include "models/spec/families.h"
#include "models/spec/parameter_plan.h"

namespace hone::models {

using MappedWeights = std::unordered_map<std::string, at::Tensor>;  // by PlannedParameter::key

// Every frozen parameter of the plan that a base file holds in `compute_dtype`, aligned to it. Of
// projections that are computed as one product (q, k, v; gate, up) all or none are taken, and only
// where they are neighbours in one file, as they are in a buffer: so the products of a run don't
// depend on how its input is sharded. `files` are tensors of `owner`, which lives as long as the
// tensors; they are not to be written to.
MappedWeights map_frozen_weights(std::span<const PlannedParameter> plan, const FileTensors& files,
                                 const Family& family, at::ScalarType compute_dtype,
                                 const std::shared_ptr<const formats::WeightFiles>& owner);

}  // namespace hone::models
