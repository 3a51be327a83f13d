#include <algorithm>

#include "core/error.h"
#include "models/spec/adapter.h"
#include "models/spec/config_reader.h"

namespace hone::models {
namespace {

struct SupportedValues {
  const char* key;
  std::vector<core::Json> values;
};

// Keys of PEFT's LoraConfig that change what an adapter computes, with the values we compute. The
// accepted init_lora_weights leave the base weights as they are; pissa, olora, corda and loftq
// change them.
const std::vector<SupportedValues>& supported_values() {
  static const std::vector<SupportedValues> kValues = {
      {"bias", {"none", nullptr}},
      {"fan_in_fan_out", {false, nullptr}},
      {"init_lora_weights", {true, false, "gaussian", "eva", "orthogonal", nullptr}},
      {"use_dora", {false, nullptr}},
      {"use_qalora", {false, nullptr}},
      {"use_bdlora", {nullptr}},
      {"lora_bias", {false, nullptr}},
      {"rank_pattern", {core::Json::object(), nullptr}},
      {"alpha_pattern", {core::Json::object(), nullptr}},
      {"exclude_modules", {core::Json::array(), nullptr}},
      {"layers_to_transform", {core::Json::array(), nullptr}},
      {"layer_replication", {core::Json::array(), nullptr}},
      {"trainable_token_indices", {nullptr}},
      {"target_parameters", {core::Json::array(), nullptr}},
      {"alora_invocation_tokens", {nullptr}},
      {"ensure_weight_tying", {false, nullptr}},
      {"arrow_config", {nullptr}},
      {"kasa_config", {nullptr}},
      {"monteclora_config", {nullptr}},
      {"velora_config", {nullptr}},
  };
  return kValues;
}

void read_targets(ConfigReader& reader, AdapterOptions& options) {
  const core::Json* targets = reader.find("target_modules");
  if (targets != nullptr && targets->is_string()) {
    options.target_modules = {targets->get<std::string>()};
    options.target_modules_is_regex = options.target_modules.front() != "all-linear";
    return;
  }
  options.target_modules = reader.texts("target_modules");
  if (options.target_modules.empty()) reader.problem("target_modules: missing or empty");
}

}  // namespace

AdapterOptions read_adapter_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "adapter_config.json";
  const core::Json config = core::read_json_file(path);
  ConfigReader reader(config, path.string());
  AdapterOptions options;
  if (const std::string type = reader.text("peft_type", ""); type != "LORA") {
    reader.problem("peft_type: '" + type + "' is not supported (only LORA)");
  }
  for (const SupportedValues& supported : supported_values()) {
    const core::Json* value = reader.find(supported.key);
    if (value == nullptr || std::find(supported.values.begin(), supported.values.end(), *value) !=
                                supported.values.end()) {
      continue;
    }
    reader.problem(std::string(supported.key) + ": " + value->dump() + " is not supported");
  }
  options.r = reader.positive_integer("r", 8);
  options.lora_alpha = reader.positive_number("lora_alpha", 8.0);
  if (const core::Json* dropout = reader.find("lora_dropout"); dropout != nullptr) {
    const bool good =
        dropout->is_number() && dropout->get<double>() >= 0 && dropout->get<double>() < 1;
    if (!good) reader.problem("lora_dropout: got " + dropout->dump() + ", expected 0 to below 1");
    if (good) options.lora_dropout = dropout->get<double>();
  }
  options.use_rslora = reader.boolean("use_rslora", false);
  options.modules_to_save = reader.texts("modules_to_save");
  options.base_model_name_or_path = reader.text("base_model_name_or_path", "");
  options.base_model_revision = reader.text("revision", "");
  read_targets(reader, options);
  reader.finish();
  return options;
}

}  // namespace hone::models
