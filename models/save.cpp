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

// Elements `part` of the parameter's slice that this rank writes, counted from its beginning.
std::vector<parallel::SliceRun> runs_from(const Parameter& parameter,
                                          const parallel::ElementRange& part) {
  auto runs = parallel::owned_runs(parameter.shape, parameter.slice, part);
  for (parallel::SliceRun& run : runs) run.slice_begin -= part.begin;
  return runs;
}

// What this rank writes of a trainable parameter, from `kept`, which is laid out as
// Stage::kept.trainable.
NamedTensor named_part(const Stage& stage, const Parameter& parameter, const at::Tensor& kept) {
  NamedTensor tensor{.name = parameter.name, .shape = parameter.shape, .dtype = "F32"};
  const int64_t begin = offset_in_stage(stage, parameter);
  const auto part =
      parallel::intersect({begin, begin + parameter.value.numel()}, stage.kept.written);
  const int64_t offset = part.size() > 0 ? part.begin - stage.kept.range.begin : 0;
  if (!stage.is_copy) tensor.runs = runs_from(parameter, {part.begin - begin, part.end - begin});
  tensor.get = [kept, offset, size = part.size()] { return kept.narrow(0, offset, size); };
  return tensor;
}

// A frozen parameter: the whole of it is there, and rank 0 of its readers writes it.
NamedTensor named_frozen(const Stage& stage, const Parameter& parameter, const Sharding& sharding) {
  const bool writes = !stage.is_copy && sharding.index == 0 && sharding.replica == 0;
  NamedTensor tensor{.name = parameter.name, .shape = parameter.shape};
  if (writes) tensor.runs = runs_from(parameter, {0, parameter.value.numel()});
  tensor.get = [value = parameter.value] { return value.reshape({-1}); };
  return tensor;
}

}  // namespace

int64_t offset_in_stage(const Stage& stage, const Parameter& parameter) {
  return parameter.value.storage_offset() - stage.trainable.storage_offset();
}

NamedTensor named_state(const Stage& stage, const Parameter& parameter, const at::Tensor& kept) {
  NamedTensor tensor = named_part(stage, parameter, kept);
  tensor.get = [get = tensor.get] { return get().to(at::kCPU).contiguous(); };
  return tensor;
}

std::vector<NamedTensor> tensors_to_save(const Model& model, const std::string& save_dtype) {
  const Family& family = *find_family(model.spec.architecture);
  const bool adapter = model.adapter.enabled();
  std::vector<NamedTensor> tensors;
  for (const Stage& stage : model.stages) {
    for (const Parameter& parameter : stage.parameters) {
      const bool trains = parameter.grad.defined();
      if (adapter && !trains) continue;
      NamedTensor tensor = trains ? named_part(stage, parameter, stage.kept.trainable)
                                  : named_frozen(stage, parameter, model.sharding);
      if (!adapter) tensor.name = family.file_name(parameter.name);
      const std::string kept_dtype = adapter ? "F32" : parameter.file_dtype;
      tensor.dtype = save_dtype.empty() ? kept_dtype : safetensors_dtype(save_dtype);
      const at::ScalarType type = scalar_type(*formats::find_dtype(tensor.dtype));
      tensor.get = [get = tensor.get, type] {
        return get().detach().to(at::kCPU, type).contiguous();
      };
      tensors.push_back(std::move(tensor));
    }
  }
  return tensors;
}

}  // namespace hone::models
