#include "models/spec/trained_modules.h"

#include "models/spec/modules.h"

namespace hone::models {

TrainedModules trained_modules(const ModelSpec& spec, const AdapterOptions& adapter) {
  if (!adapter.enabled()) return {};
  TrainedModules trained{.everything = false,
                         .adapted = match_target_modules(spec, adapter),
                         .lora_rank = adapter.r,
                         .has_dropout = adapter.lora_dropout > 0};
  for (const Module& module : adaptable_modules(spec)) {
    if (is_module_to_save(module.path + ".weight", adapter.modules_to_save))
      trained.saved.push_back(module.path);
  }
  return trained;
}

}  // namespace hone::models
