#include "tests/trainer/made_model.h"

#include <cmath>
#include <span>
#include <vector>

#include "core/files.h"
#include "core/json.h"
#include "core/rng.h"
#include "formats/safetensors.h"
#include "models/spec/model_spec.h"

namespace hone::trainer {
namespace {

core::Json config_of(const std::string& name) {
  const bool is_nine = name.starts_with("nine"), is_twelve = name.starts_with("twelve");
  const auto has = [&](const char* suffix) { return name.find(suffix) != std::string::npos; };
  core::Json config{{"hidden_size", is_nine ? 24 : 32},
                    {"intermediate_size", is_nine ? 50 : 60},
                    {"num_attention_heads", is_nine     ? 9
                                            : is_twelve ? 12
                                                        : 8},
                    {"num_key_value_heads", is_nine || is_twelve ? 3 : 2},
                    {"num_hidden_layers", is_nine ? 5 : 4},
                    {"head_dim", 8},
                    {"vocab_size", (is_nine ? 101 : 163) + (has("_wide") ? 416 : 0)},
                    {"max_position_embeddings", 256},
                    {"rms_norm_eps", 1e-6},
                    {"rope_theta", 10000.0},
                    {"tie_word_embeddings", has("_tied")},
                    {"torch_dtype", "float32"}};
  config["architectures"] = {"LlamaForCausalLM"};
  config["model_type"] = "llama";
  if (has("_mha")) config["num_key_value_heads"] = config["num_attention_heads"];
  if (has("_bias")) config["attention_bias"] = config["mlp_bias"] = true;
  if (has("_norm")) {
    config["architectures"] = {"Qwen3ForCausalLM"};
    config["model_type"] = "qwen3";
  }
  if (has("_window")) {
    config["architectures"] = {"Qwen2ForCausalLM"};
    config["model_type"] = "qwen2";
    config["use_sliding_window"] = true;
    config["sliding_window"] = 8;
    config["max_window_layers"] = 2;
  }
  return config;
}

// Norms about one, the rest small enough for sound activations.
std::vector<float> values_of(const models::ParameterSpec& parameter, uint32_t stream) {
  const bool is_matrix = parameter.shape.size() > 1;
  const bool is_norm = parameter.name.find("norm") != std::string::npos;
  const double scale =
      is_matrix ? 1.5 / std::sqrt(static_cast<double>(parameter.shape.back())) : 0.2;
  std::vector<float> values(static_cast<size_t>(parameter.numel()));
  for (size_t i = 0; i < values.size(); ++i) {
    const double draw = 2 * core::random_uniform(1, core::RngSite::kLoraInit, stream, 0, i) - 1;
    values[i] = static_cast<float>((is_norm ? 1.0 : 0.0) + draw * scale);
  }
  return values;
}

}  // namespace

void make_model(const std::string& name, const std::filesystem::path& folder) {
  const core::Json config = config_of(name);
  core::write_file_atomic(folder / "config.json", core::dump_json(config));
  const auto table = models::parameter_table(models::parse_model_spec(config, name));
  std::vector<formats::TensorSpec> specs;
  for (const models::ParameterSpec& parameter : table)
    specs.push_back({parameter.name, formats::Dtype::kF32, parameter.shape});
  formats::SafetensorsWriter writer(folder / "model.safetensors", formats::plan_safetensors(specs));
  for (size_t i = 0; i < table.size(); ++i) {
    const std::vector<float> values = values_of(table[i], static_cast<uint32_t>(i));
    writer.write(table[i].name, std::as_bytes(std::span<const float>(values)));
  }
  writer.commit();
}

}  // namespace hone::trainer
