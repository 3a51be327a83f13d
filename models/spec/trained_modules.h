// Which modules train, as the count of their activations wants it.
#pragma once

#include "models/spec/adapter.h"
#include "models/spec/model_spec.h"
#include "models/spec/stage_bytes.h"

namespace hone::models {

// Throws kBadRecipe when the adapter's target modules match nothing.
TrainedModules trained_modules(const ModelSpec& spec, const AdapterOptions& adapter);

}  // namespace hone::models
