// What of a config.json changes when the weights are saved in another dtype; everything else is
// kept, in order.
#pragma once

#include <string>

#include "core/json.h"

namespace hone::models {

// "float32", "bfloat16" or "float16" of a config dtype or a safetensors dtype ("F32", "BF16",
// "F16"); throws kBadRecipe for another one.
std::string config_dtype_name(const std::string& dtype);

// `config` with the key of the dtype it has (`dtype`, or `torch_dtype` in the older dialect) set to
// `save_dtype`; an empty save_dtype changes nothing.
core::Json config_to_save(const core::Json& config, const std::string& save_dtype);

}  // namespace hone::models
