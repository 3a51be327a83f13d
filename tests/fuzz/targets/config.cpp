// config.json: an accepted one describes a model whose tensors can be counted, and stays the same
// model when it is written for another dtype.
#include <limits>

#include "core/json.h"
#include "models/spec/model_spec.h"
#include "models/spec/saved_config.h"
#include "tests/fuzz/target.h"

namespace hone::fuzz {
namespace {

using models::ModelSpec;

void check_table(const ModelSpec& spec) {
  uint64_t total = 0;
  for (const models::ParameterSpec& parameter : models::parameter_table(spec)) {
    uint64_t count = 1;
    for (const int64_t size : parameter.shape) {
      require(size > 0, "an empty dimension in " + parameter.name);
      require(!__builtin_mul_overflow(count, static_cast<uint64_t>(size), &count),
              "the size of " + parameter.name + " overflows");
    }
    require(!__builtin_add_overflow(total, count, &total) &&
                total <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()),
            "the number of parameters overflows");
  }
}

}  // namespace

void fuzz_config(std::string_view input) {
  core::Json config;
  if (!accepts([&] { config = core::parse_json(input, "config.json"); })) return;
  accepts([&] {
    const ModelSpec spec = models::parse_model_spec(config, "config.json");
    check_table(spec);
    const core::Json saved = models::config_to_save(config, "float32");
    const ModelSpec again =
        models::parse_model_spec(core::parse_json(core::dump_json(saved), "saved"), "saved");
    require(again.num_layers() == spec.num_layers() && again.head_dim == spec.head_dim &&
                again.num_kv_heads == spec.num_kv_heads && again.rope.theta == spec.rope.theta &&
                again.eos_token_ids == spec.eos_token_ids,
            "a saved config is another model");
  });
}

}  // namespace hone::fuzz
