#include "models/spec/modules.h"

namespace hone::models {
namespace {

constexpr std::string_view kWeight = ".weight";

}  // namespace

std::vector<Module> adaptable_modules(const ModelSpec& spec) {
  std::vector<Module> modules;
  for (const ParameterSpec& parameter : parameter_table(spec)) {
    if (parameter.shape.size() != 2 || !parameter.name.ends_with(kWeight)) continue;
    Module module{.path = parameter.name.substr(0, parameter.name.size() - kWeight.size()),
                  .in_features = parameter.shape[1],
                  .out_features = parameter.shape[0],
                  .stage = parameter.stage};
    if (module.path == "model.embed_tokens") {
      module.kind = ModuleKind::kEmbedding;
      module.in_features = spec.vocab_size;
      module.out_features = spec.hidden_size;
    } else if (module.path == "lm_head") {
      module.kind = ModuleKind::kHead;
    }
    modules.push_back(std::move(module));
  }
  if (spec.tie_word_embeddings) {
    modules.push_back({.path = "lm_head",
                       .kind = ModuleKind::kHead,
                       .in_features = spec.hidden_size,
                       .out_features = spec.vocab_size,
                       .stage = spec.num_layers() + 1});
  }
  return modules;
}

std::string peft_name(std::string_view base_name) {
  return "base_model.model." + std::string(base_name);
}

bool is_module_to_save(std::string_view parameter_name, const std::vector<std::string>& entries) {
  // Walks from the module of the parameter up to the root: "a.b.weight" asks for "a.b", then "a".
  for (size_t dot = parameter_name.rfind('.'); dot != std::string_view::npos;
       dot = dot == 0 ? std::string_view::npos : parameter_name.rfind('.', dot - 1)) {
    const std::string_view path = parameter_name.substr(0, dot);
    for (const std::string& entry : entries) {
      if (!entry.empty() && path.ends_with(entry)) return true;
    }
  }
  return false;
}

}  // namespace hone::models
