// Text generation, token by token, over the key/value cache of models/decode.h.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

#include "data/tokenizer.h"
#include "models/model.h"

namespace hone::trainer {

struct GenerateOptions {
  int64_t max_new_tokens = 256;
  bool greedy = false;
  double temperature = 1.0;  // 0 is the same as greedy
  double top_p = 1.0;        // smallest set of tokens with at least this much probability; 1: all
  int64_t top_k = 0;         // 0: all
  uint64_t seed = 42;
  std::vector<int64_t> eos_token_ids;  // generation ends after any of these
};

// Ids that end a text: what config.json and generation_config.json of `model_folder` and the
// tokenizer name.
std::vector<int64_t> end_token_ids(const models::Model& model,
                                   const std::filesystem::path& model_folder,
                                   const data::Tokenizer& tokenizer);

// Draws one id from float32 logits [V]: divide by temperature, keep top_k, keep top_p of what is
// left (ties by lower id), as transformers' logits warpers in this order. `uniform` in [0, 1)
// picks. Greedy takes the first largest.
int32_t sample_token(const at::Tensor& logits_V, const GenerateOptions& options, double uniform);

// Throws kBadInput for an empty prompt or an id outside the vocabulary.
void check_prompt(const models::Model& model, std::span<const int32_t> prompt_ids);

// Returns the new ids, a final end-of-sequence id included. The draw at position i is a pure
// function of (seed, i). on_token is called with each as it comes; it may return false to stop.
// Collective over the tensor and pipeline axes of the model, with the same prompt, options and
// answers of on_token, and the ids are the same on all their ranks. Throws as check_prompt, before
// anything collective.
std::vector<int32_t> generate(const models::Model& model, std::span<const int32_t> prompt_ids,
                              const GenerateOptions& options,
                              const std::function<bool(int32_t)>& on_token = {});

}  // namespace hone::trainer
