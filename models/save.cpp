#include <algorithm>

#include "formats/dtype.h"
#include "models/file_tensors.h"
#include "models/load.h"
#include "models/spec/families.h"
#include "models/spec/saved_config.h"

namespace hone::models {
namespace {

std::string safetensors_dtype(const std::string& save_dtype) {
  const std::string name = config_dtype_name(save_dtype);
  if (name == "float32") return "F32";
  return name == "bfloat16" ? "BF16" : "F16";
}

NamedTensor named_tensor(const Parameter& parameter, std::string name, std::string dtype) {
  const at::ScalarType type = scalar_type(*formats::find_dtype(dtype));
  return {.name = std::move(name),
          .shape = parameter.shape,
          .dtype = std::move(dtype),
          .get = [value = parameter.value, type] {
            return value.detach().to(at::kCPU, type).contiguous();
          }};
}

}  // namespace

std::vector<NamedTensor> tensors_to_save(const Model& model, const std::string& save_dtype) {
  const Family& family = *find_family(model.spec.architecture);
  const bool adapter = model.adapter.enabled();
  std::vector<NamedTensor> tensors;
  for (const Stage& stage : model.stages) {
    for (const Parameter& parameter : stage.parameters) {
      if (adapter && !parameter.grad.defined()) continue;
      const std::string kept = adapter ? "F32" : parameter.file_dtype;
      tensors.push_back(named_tensor(parameter,
                                     adapter ? parameter.name : family.file_name(parameter.name),
                                     save_dtype.empty() ? kept : safetensors_dtype(save_dtype)));
    }
  }
  return tensors;
}

}  // namespace hone::models
