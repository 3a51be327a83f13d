#include "models/spec/model_spec.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/text.h"
#include "models/spec/config_reader.h"
#include "models/spec/families.h"

namespace hone::models {
namespace {

constexpr double kDefaultRopeTheta = 10000.0;
constexpr double kDefaultRmsNormEps = 1e-6;

[[noreturn]] void fail_architecture(const std::string& where, const std::string& got) {
  std::vector<std::string> names;
  for (const Family& family : families()) names.emplace_back(family.architecture);
  core::fail(core::ErrorKind::kBadInput, {.what = "architecture is not supported",
                                          .where = where,
                                          .got = got,
                                          .expected = "one of " + core::join(names, ", ")});
}

// `architectures` decides; a config without it is known by its model_type.
const Family& choose_family(ConfigReader& reader, const std::string& where) {
  const std::vector<std::string> architectures = reader.texts("architectures");
  const std::string model_type = reader.text("model_type", "");
  reader.finish();
  const Family* family = nullptr;
  if (!architectures.empty()) {
    family = find_family(architectures.front());
    if (family == nullptr) fail_architecture(where, "'" + architectures.front() + "'");
    if (!model_type.empty() && model_type != family->model_type) {
      reader.problem("model_type: got '" + model_type + "', expected '" + family->model_type +
                     "' for " + family->architecture);
    }
    return *family;
  }
  for (const Family& candidate : families()) {
    if (model_type == candidate.model_type) return candidate;
  }
  fail_architecture(where, model_type.empty() ? "neither architectures nor model_type"
                                              : "model_type '" + model_type + "'");
}

void check_neutral_keys(ConfigReader& reader, std::span<const NeutralKey> keys) {
  for (const NeutralKey& neutral : keys) {
    const core::Json* value = reader.find(neutral.key);
    if (value == nullptr) continue;
    if (std::find(neutral.neutral.begin(), neutral.neutral.end(), *value) !=
        neutral.neutral.end()) {
      continue;
    }
    reader.problem(std::string(neutral.key) + ": " + core::excerpt(value->dump(), 60) +
                   " changes the computation and is not supported (only " +
                   neutral.neutral.front().dump() + ")");
  }
}

void read_llama3_rope(ConfigReader& rope, int64_t max_position_embeddings, RopeSpec& spec) {
  spec.kind = RopeKind::kLlama3;
  for (const char* key : {"factor", "low_freq_factor", "high_freq_factor"}) {
    if (rope.is_null_or_absent(key)) rope.problem(std::string(key) + ": missing for llama3");
  }
  spec.factor = rope.positive_number("factor", 1.0);
  spec.low_freq_factor = rope.positive_number("low_freq_factor", 1.0);
  spec.high_freq_factor = rope.positive_number("high_freq_factor", 4.0);
  spec.original_max_position_embeddings =
      rope.positive_integer("original_max_position_embeddings", max_position_embeddings);
  if (spec.high_freq_factor <= spec.low_freq_factor) {
    rope.problem("high_freq_factor: must be above low_freq_factor");
  }
}

// Transformers 4 keeps rope_theta beside rope_scaling ("type" or "rope_type"); transformers 5 has
// both in rope_parameters. Where a file has both objects, rope_scaling wins, as in transformers.
RopeSpec read_rope(ConfigReader& reader, int64_t max_position_embeddings) {
  RopeSpec spec;
  spec.theta = reader.positive_number("rope_theta", kDefaultRopeTheta);
  const core::Json* object = nullptr;
  std::string name;
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const core::Json* value = reader.find(key);
    if (value == nullptr || value->is_null() || (value->is_object() && value->empty())) continue;
    if (!value->is_object()) {
      reader.problem(std::string(key) + ": got " + value->dump() + ", expected an object");
      continue;
    }
    object = value;
    name = key;
  }
  if (object == nullptr) return spec;
  ConfigReader rope(*object, name);
  spec.theta = rope.positive_number("rope_theta", spec.theta);
  const std::string kind = rope.text("rope_type", rope.text("type", "default"));
  if (kind == "linear") {
    spec.kind = RopeKind::kLinear;
    if (rope.is_null_or_absent("factor")) rope.problem("factor: missing for linear");
    spec.factor = rope.positive_number("factor", 1.0);
  } else if (kind == "llama3") {
    read_llama3_rope(rope, max_position_embeddings, spec);
  } else if (kind != "default") {
    rope.problem("rope_type: '" + kind + "' is not supported (default, linear, llama3 are)");
  }
  if (const core::Json* partial = rope.find("partial_rotary_factor");
      partial != nullptr && !partial->is_null() && *partial != 1.0) {
    rope.problem("partial_rotary_factor: " + partial->dump() + " is not supported (only 1.0)");
  }
  for (const auto& [key, value] : object->items()) {
    if (value.is_object()) rope.problem(key + ": RoPE per layer type is not supported");
  }
  reader.absorb(rope);
  return spec;
}

void read_sizes(ConfigReader& reader, const Family& family, ModelSpec& spec) {
  spec.vocab_size = reader.positive_integer("vocab_size", family.vocab_size);
  spec.hidden_size = reader.positive_integer("hidden_size", family.hidden_size);
  spec.intermediate_size = reader.positive_integer("intermediate_size", family.intermediate_size);
  spec.num_heads = reader.positive_integer("num_attention_heads", family.num_attention_heads);
  const bool kv_absent = reader.find("num_key_value_heads") == nullptr;
  const int64_t kv_default =
      kv_absent && family.num_key_value_heads > 0 ? family.num_key_value_heads : spec.num_heads;
  spec.num_kv_heads = reader.positive_integer("num_key_value_heads", kv_default);
  const bool head_dim_absent = reader.find("head_dim") == nullptr;
  const bool divides = spec.hidden_size % spec.num_heads == 0;
  const int64_t divided = std::max<int64_t>(1, spec.hidden_size / spec.num_heads);
  spec.head_dim = reader.positive_integer(
      "head_dim", head_dim_absent && family.head_dim > 0 ? family.head_dim : divided);
  if (!divides && reader.is_null_or_absent("head_dim") && family.head_dim == 0) {
    reader.problem("hidden_size " + std::to_string(spec.hidden_size) + " is not a multiple of " +
                   std::to_string(spec.num_heads) + " num_attention_heads");
  }
  if (spec.num_heads % spec.num_kv_heads != 0) {
    reader.problem("num_attention_heads " + std::to_string(spec.num_heads) +
                   " is not a multiple of num_key_value_heads " +
                   std::to_string(spec.num_kv_heads));
  }
  if (spec.head_dim % 2 != 0) {
    reader.problem("head_dim " + std::to_string(spec.head_dim) + " is odd; RoPE rotates pairs");
  }
  const int64_t num_layers = reader.positive_integer("num_hidden_layers", family.num_hidden_layers);
  constexpr int64_t kMaxLayers = 4096;
  if (num_layers > kMaxLayers) {
    reader.problem("num_hidden_layers: got " + std::to_string(num_layers) + ", expected at most " +
                   std::to_string(kMaxLayers));
  }
  spec.layers.resize(std::min(num_layers, kMaxLayers));
}

}  // namespace

int64_t attention_pairs(int64_t length, int64_t window) {
  const int64_t full = window > 0 ? std::min(length, window) : length;
  return full * (full + 1) / 2 + (length - full) * full;
}

ModelSpec parse_model_spec(const core::Json& config, const std::string& where) {
  ConfigReader reader(config, where);
  const Family& family = choose_family(reader, where);
  ModelSpec spec;
  spec.architecture = family.architecture;
  spec.model_type = family.model_type;
  read_sizes(reader, family, spec);
  spec.max_position_embeddings =
      reader.positive_integer("max_position_embeddings", family.max_position_embeddings);
  spec.rms_norm_eps = reader.positive_number("rms_norm_eps", kDefaultRmsNormEps);
  spec.attention_scale = 1.0 / std::sqrt(static_cast<double>(spec.head_dim));
  spec.tie_word_embeddings = reader.boolean("tie_word_embeddings", false);
  const bool bias_by_key =
      family.attention_bias == AttentionBias::kByKey && reader.boolean("attention_bias", false);
  spec.q_bias = spec.k_bias = spec.v_bias =
      bias_by_key || family.attention_bias == AttentionBias::kQkv;
  spec.o_bias = bias_by_key;
  spec.mlp_bias = family.mlp_bias_by_key && reader.boolean("mlp_bias", false);
  spec.qk_norm = family.qk_norm;
  spec.rope = read_rope(reader, spec.max_position_embeddings);
  spec.dtype = reader.text("dtype", reader.text("torch_dtype", ""));
  // Unlike an absent key, a null one says that there is no such token.
  const bool has_eos_key = reader.find("eos_token_id") != nullptr;
  spec.eos_token_ids =
      reader.integers("eos_token_id", has_eos_key ? std::vector<int64_t>{} : family.eos_token_ids);
  family.parse_layers(reader, spec);
  check_neutral_keys(reader, common_neutral_keys());
  check_neutral_keys(reader, family.neutral_keys);
  reader.finish();
  return spec;
}

ModelSpec read_model_spec(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  return parse_model_spec(core::read_json_file(path), path.string());
}

}  // namespace hone::models
