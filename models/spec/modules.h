// The modules of a decoder that can carry an adapter, and how PEFT names what it adds to them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/spec/model_spec.h"

namespace hone::models {

enum class ModuleKind { kEmbedding, kLinear, kHead };

struct Module {
  std::string path;  // "model.layers.0.self_attn.q_proj"
  ModuleKind kind = ModuleKind::kLinear;
  int64_t in_features = 0;  // kEmbedding: the vocabulary
  int64_t out_features = 0;
  int64_t stage = 0;
};

// Every embedding and linear module in file order; the head last, tied or not.
std::vector<Module> adaptable_modules(const ModelSpec& spec);

// "base_model.model." + name: how PEFT files name a tensor of the base model.
std::string peft_name(std::string_view base_name);

// Whether PEFT's modules_to_save entries make the module of this parameter, or one that holds it,
// trainable: an entry is the end of the module's path.
bool is_module_to_save(std::string_view parameter_name, const std::vector<std::string>& entries);

}  // namespace hone::models
