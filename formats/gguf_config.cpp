#include "formats/gguf_config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <numbers>

#include "core/error.h"
#include "formats/dtype.h"

namespace hone::formats {
namespace {

using core::ErrorKind;
using core::fail;
using core::Json;

[[noreturn]] void bad(const GgufFile& file, std::string what, std::string got = "",
                      std::string expected = "", std::string hint = "") {
  fail(ErrorKind::kBadInput, {.what = std::move(what),
                              .where = file.path(),
                              .got = std::move(got),
                              .expected = std::move(expected),
                              .hint = std::move(hint)});
}

// The file holds float32: 1e-05f must become 1e-05, not 9.999999747378752e-06.
double shortest(double float32_value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, static_cast<float>(float32_value)).ptr;
  double value = 0;
  std::from_chars(text, end, value);
  return value;
}

int64_t bounded(const GgufFile& file, const std::string& key, uint64_t value, uint64_t low) {
  constexpr uint64_t kHigh = uint64_t{1} << 31;
  if (value < low || value > kHigh) {
    bad(file, "metadata \"" + key + "\" is out of range", std::to_string(value),
        std::to_string(low) + " to " + std::to_string(kHigh));
  }
  return static_cast<int64_t>(value);
}

void refuse_other_maths(const GgufFile& file, const std::string& arch) {
  for (const char* key :
       {"expert_count", "attention.scale", "embedding_scale", "residual_scale", "logit_scale"}) {
    const std::string full = arch + "." + key;
    const auto found = file.metadata().find(full);
    if (found == file.metadata().end()) continue;
    const auto* count = std::get_if<uint64_t>(&found->second.value);
    if (count != nullptr && *count == 0) continue;
    bad(file, "metadata \"" + full + "\" changes the model in a way that is not supported");
  }
}

std::string model_type_of(const GgufFile& file, const std::string& arch) {
  // A Mistral model is stored as llama; only its sliding window tells them apart.
  const bool window = file.get_uint(arch + ".attention.sliding_window").value_or(0) > 0;
  if (window && arch != "llama") {
    bad(file, "metadata \"" + arch + ".attention.sliding_window\" is not supported");
  }
  return window ? "mistral" : arch;
}

std::string architecture_of(const std::string& model_type) {
  if (model_type == "llama") return "LlamaForCausalLM";
  if (model_type == "mistral") return "MistralForCausalLM";
  return model_type == "qwen2" ? "Qwen2ForCausalLM" : "Qwen3ForCausalLM";
}

void check_rotary(const GgufFile& file, const GgufModel& m) {
  const auto rotary = file.get_uint(m.arch + ".rope.dimension_count");
  if (rotary && *rotary != static_cast<uint64_t>(m.head_dim)) {
    bad(file, "rotary embedding of a part of each head is not supported", std::to_string(*rotary),
        "all " + std::to_string(m.head_dim));
  }
  const auto value_length = file.get_uint(m.arch + ".attention.value_length");
  if (value_length && *value_length != static_cast<uint64_t>(m.head_dim)) {
    bad(file, "values and keys of different lengths are not supported",
        std::to_string(*value_length), std::to_string(m.head_dim));
  }
}

// Finds the llama3 scaling whose divisors are those of the file. The largest divisor is the factor;
// the other numbers are those of every Llama 3.1 and 3.2 model unless the file has keys for them,
// and are proved by comparing all divisors.
Json llama3_rope(const GgufFile& file, const GgufTensor& tensor, const GgufModel& m, double theta) {
  if (tensor.type != GgmlType::kF32 || tensor.shape != std::vector<int64_t>{m.head_dim / 2}) {
    bad(file, "tensor \"rope_freqs.weight\" is wrong", format_shape(tensor.shape),
        "F32 " + format_shape({m.head_dim / 2}));
  }
  std::vector<float> divisors(static_cast<size_t>(m.head_dim / 2));
  dequantize(tensor.type, file.bytes(tensor), divisors);
  GgufRope rope;
  rope.theta = theta;
  rope.factor = shortest(file.get_float(kGgufRopeFactor).value_or(std::round(divisors.back())));
  rope.low_freq_factor = shortest(file.get_float(kGgufRopeLowFactor).value_or(1));
  rope.high_freq_factor = shortest(file.get_float(kGgufRopeHighFactor).value_or(4));
  rope.original_context_length = static_cast<int64_t>(
      file.get_uint(m.arch + ".rope.scaling.original_context_length").value_or(8192));
  const std::vector<float> expected = llama3_divisors(rope, m.head_dim);
  for (size_t i = 0; i < divisors.size(); ++i) {
    if (!(std::abs(divisors[i] - expected[i]) <= 1e-4 * expected[i])) {
      bad(file, "tensor \"rope_freqs.weight\" is no known RoPE scaling",
          std::to_string(divisors[i]) + " at " + std::to_string(i), std::to_string(expected[i]));
    }
  }
  Json json;
  json["rope_type"] = "llama3";
  json["rope_theta"] = theta;
  json["factor"] = rope.factor;
  json["low_freq_factor"] = rope.low_freq_factor;
  json["high_freq_factor"] = rope.high_freq_factor;
  json["original_max_position_embeddings"] = rope.original_context_length;
  return json;
}

Json rope_json(const GgufFile& file, const GgufModel& m) {
  const double theta = shortest(file.get_float(m.arch + ".rope.freq_base").value_or(10000.0));
  if (const GgufTensor* freqs = file.find_tensor("rope_freqs.weight")) {
    return llama3_rope(file, *freqs, m, theta);
  }
  const std::string type = file.get_string(m.arch + ".rope.scaling.type").value_or("none");
  Json rope;
  rope["rope_type"] = type == "none" ? "default" : type;
  rope["rope_theta"] = theta;
  if (type == "none") return rope;
  if (type != "linear" && type != "yarn") {
    bad(file, "RoPE scaling is not supported", "\"" + type + "\"", "none, linear or yarn");
  }
  rope["factor"] = shortest(file.require_float(m.arch + ".rope.scaling.factor"));
  if (type == "yarn") {
    rope["original_max_position_embeddings"] =
        file.require_uint(m.arch + ".rope.scaling.original_context_length");
  }
  return rope;
}

void set_token_ids(const GgufFile& file, Json& config) {
  if (const auto bos = file.get_uint("tokenizer.ggml.bos_token_id")) config["bos_token_id"] = *bos;
  const std::vector<int64_t> eos = gguf_eos_ids(file);
  if (eos.size() == 1) config["eos_token_id"] = eos[0];
  if (eos.size() > 1) config["eos_token_id"] = eos;
  if (gguf_pad_id(file) >= 0) config["pad_token_id"] = gguf_pad_id(file);
}

}  // namespace

std::vector<float> llama3_divisors(const GgufRope& rope, int64_t head_dim) {
  const auto context = static_cast<double>(rope.original_context_length);
  std::vector<float> divisors;
  for (int64_t i = 0; i < head_dim; i += 2) {
    const double frequency =
        std::pow(rope.theta, -static_cast<double>(i) / static_cast<double>(head_dim));
    const double wavelength = 2 * std::numbers::pi / frequency;
    const double smooth = (context / wavelength - rope.low_freq_factor) /
                          (rope.high_freq_factor - rope.low_freq_factor);
    const double divisor = wavelength < context / rope.high_freq_factor ? 1
                           : wavelength > context / rope.low_freq_factor
                               ? rope.factor
                               : 1 / ((1 - smooth) / rope.factor + smooth);
    divisors.push_back(static_cast<float>(divisor));
  }
  return divisors;
}

GgufModel read_gguf_model(const GgufFile& file) {
  GgufModel m;
  m.arch = file.require_string("general.architecture");
  if (m.arch != "llama" && m.arch != "qwen2" && m.arch != "qwen3") {
    bad(file, "architecture is not supported", "\"" + m.arch.substr(0, 80) + "\"",
        "llama (also Mistral), qwen2 or qwen3");
  }
  refuse_other_maths(file, m.arch);
  m.model_type = model_type_of(file, m.arch);
  m.architecture = architecture_of(m.model_type);
  const auto size = [&](const std::string& key) {
    return bounded(file, m.arch + "." + key, file.require_uint(m.arch + "." + key), 1);
  };
  m.hidden_size = size("embedding_length");
  m.intermediate_size = size("feed_forward_length");
  m.num_layers = size("block_count");
  m.num_heads = size("attention.head_count");
  const auto either = [&](const std::string& key, int64_t otherwise) {
    return file.metadata().contains(m.arch + "." + key) ? size(key) : otherwise;
  };
  m.num_kv_heads = either("attention.head_count_kv", m.num_heads);
  m.head_dim = either("attention.key_length", m.hidden_size / m.num_heads);
  if (m.head_dim % 2 != 0 || m.num_heads % m.num_kv_heads != 0) {
    bad(file, "the heads do not divide evenly",
        std::to_string(m.num_heads) + " heads, " + std::to_string(m.num_kv_heads) +
            " key-value heads of " + std::to_string(m.head_dim));
  }
  check_rotary(file, m);
  const GgufTensor* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    bad(file, "tensor \"token_embd.weight\" is missing or is no matrix");
  }
  m.vocab_size = embedding->shape[0];
  m.tied_head = file.find_tensor("output.weight") == nullptr;
  m.attention_bias = m.arch == "qwen2" || file.find_tensor("blk.0.attn_q.bias") != nullptr;
  m.mlp_bias = file.find_tensor("blk.0.ffn_gate.bias") != nullptr;
  return m;
}

core::Json gguf_config_json(const GgufFile& file, const GgufModel& m, const std::string& dtype) {
  Json config;
  config["architectures"] = Json::array({m.architecture});
  config["model_type"] = m.model_type;
  config["dtype"] = dtype;
  config["vocab_size"] = m.vocab_size;
  config["hidden_size"] = m.hidden_size;
  config["intermediate_size"] = m.intermediate_size;
  config["num_hidden_layers"] = m.num_layers;
  config["num_attention_heads"] = m.num_heads;
  config["num_key_value_heads"] = m.num_kv_heads;
  config["head_dim"] = m.head_dim;
  config["hidden_act"] = "silu";
  config["max_position_embeddings"] = file.require_uint(m.arch + ".context_length");
  config["rms_norm_eps"] =
      shortest(file.require_float(m.arch + ".attention.layer_norm_rms_epsilon"));
  config["rope_parameters"] = rope_json(file, m);
  config["tie_word_embeddings"] = m.tied_head;
  config["attention_dropout"] = 0.0;
  config["initializer_range"] = 0.02;
  config["use_cache"] = true;
  if (m.model_type == "llama") {
    config["attention_bias"] = m.attention_bias;
    config["mlp_bias"] = m.mlp_bias;
    config["pretraining_tp"] = 1;
  } else if (m.model_type == "mistral") {
    config["sliding_window"] = file.require_uint(m.arch + ".attention.sliding_window");
  } else {
    if (m.model_type == "qwen3") config["attention_bias"] = m.attention_bias;
    config["use_sliding_window"] = false;
    config["sliding_window"] = nullptr;
    config["max_window_layers"] = m.num_layers;
  }
  set_token_ids(file, config);
  return config;
}

core::Json gguf_generation_config_json(const GgufFile& file) {
  Json config;
  config["_from_model_config"] = true;
  set_token_ids(file, config);
  return config;
}

std::vector<int64_t> gguf_eos_ids(const GgufFile& file) {
  std::vector<int64_t> ids;
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"}) {
    const auto id = file.get_uint(key);
    if (id && std::find(ids.begin(), ids.end(), static_cast<int64_t>(*id)) == ids.end()) {
      ids.push_back(static_cast<int64_t>(*id));
    }
  }
  return ids;
}

int64_t gguf_pad_id(const GgufFile& file) {
  if (const auto pad = file.get_uint("tokenizer.ggml.padding_token_id")) {
    return static_cast<int64_t>(*pad);
  }
  const std::vector<int64_t> eos = gguf_eos_ids(file);
  return eos.empty() ? -1 : eos[0];
}

}  // namespace hone::formats
