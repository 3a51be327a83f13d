#include "models/spec/saved_config.h"

#include "core/error.h"

namespace hone::models {

std::string config_dtype_name(const std::string& dtype) {
  if (dtype == "float32" || dtype == "F32") return "float32";
  if (dtype == "bfloat16" || dtype == "BF16") return "bfloat16";
  if (dtype == "float16" || dtype == "F16") return "float16";
  core::fail(core::ErrorKind::kBadRecipe, {.what = "unknown dtype",
                                           .where = "save_dtype",
                                           .got = "'" + dtype + "'",
                                           .expected = "float32, bfloat16 or float16"});
}

core::Json config_to_save(const core::Json& config, const std::string& save_dtype) {
  core::Json result = config;
  if (save_dtype.empty()) return result;
  const std::string name = config_dtype_name(save_dtype);
  if (result.contains("torch_dtype")) result["torch_dtype"] = name;
  if (result.contains("dtype") || !result.contains("torch_dtype")) result["dtype"] = name;
  return result;
}

}  // namespace hone::models
