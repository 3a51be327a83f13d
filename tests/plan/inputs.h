// Jobs to plan in tests.
#pragma once

#include "recipes/plan/plan.h"

namespace hone::recipes {

inline models::ModelSpec llama_spec(size_t num_layers, int64_t hidden, int64_t heads,
                                    int64_t kv_heads, int64_t intermediate, int64_t vocabulary) {
  models::ModelSpec spec{.architecture = "LlamaForCausalLM",
                         .model_type = "llama",
                         .vocab_size = vocabulary,
                         .hidden_size = hidden,
                         .intermediate_size = intermediate,
                         .num_heads = heads,
                         .num_kv_heads = kv_heads,
                         .head_dim = hidden / heads,
                         .max_position_embeddings = 8192};
  spec.layers.resize(num_layers);
  return spec;
}

inline models::ModelSpec small_spec() { return llama_spec(8, 64, 8, 4, 128, 256); }
inline models::ModelSpec llama_8b() { return llama_spec(32, 4096, 32, 8, 14336, 128256); }
inline models::ModelSpec llama_70b() { return llama_spec(80, 8192, 64, 8, 28672, 128256); }

inline PlanInput input_of(const models::ModelSpec& spec, const parallel::Layout& layout,
                          int64_t accumulation = 4, int64_t row_tokens = 64) {
  PlanInput input{.spec = spec,
                  .layout = layout,
                  .row_tokens = row_tokens,
                  .accumulation = accumulation,
                  .hardware = find_hardware("h100")};
  input.pipeline = plan_pipeline(input);
  return input;
}

}  // namespace hone::recipes
