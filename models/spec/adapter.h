// LoRA adapters with PEFT's names and files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "models/spec/model_spec.h"

namespace hone::models {

struct AdapterOptions {
  int64_t r = 0;  // 0: no adapter
  double lora_alpha = 8.0;
  double lora_dropout = 0.0;
  // Module name suffixes ("q_proj"), full paths, one regular expression matched against the whole
  // path as PEFT does, or "all-linear" (every linear layer but the head).
  std::vector<std::string> target_modules{"all-linear"};
  bool target_modules_is_regex = false;
  std::vector<std::string> modules_to_save;
  bool use_rslora = false;
  std::string base_model_name_or_path, base_model_revision;  // written to adapter_config.json
  bool enabled() const { return r > 0; }
};

// Module paths ("model.layers.0.self_attn.q_proj") that get an adapter, in file order. Throws
// kBadRecipe when nothing matches, naming the modules there are.
std::vector<std::string> match_target_modules(const ModelSpec& spec, const AdapterOptions& options);

AdapterOptions read_adapter_config(
    const std::filesystem::path& folder);  // throws kBadInput on what is unsupported
core::Json adapter_config_json(const AdapterOptions& options, const ModelSpec& spec);

}  // namespace hone::models
