#include "trainer/generate.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "core/error.h"
#include "core/json.h"
#include "core/rng.h"
#include "models/decode.h"

namespace hone::trainer {
namespace {

struct Candidate {
  int32_t id = 0;
  double weight = 0;  // a probability times a common factor
};

// The tokens left after top_k and top_p, likeliest first, weights relative to the likeliest.
std::vector<Candidate> candidates(std::span<const float> logits_V, const GenerateOptions& options) {
  std::vector<int32_t> order(logits_V.size());
  std::iota(order.begin(), order.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) {
    return logits_V[a] != logits_V[b] ? logits_V[a] > logits_V[b] : a < b;
  };
  size_t num_kept = order.size();
  if (options.top_k > 0) num_kept = std::min(num_kept, static_cast<size_t>(options.top_k));
  std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(num_kept), order.end(),
                    likelier);

  std::vector<Candidate> kept;
  kept.reserve(num_kept);
  double total = 0;
  for (size_t i = 0; i < num_kept; ++i) {
    const double shifted = static_cast<double>(logits_V[order[i]]) - logits_V[order[0]];
    kept.push_back({order[i], std::exp(shifted / options.temperature)});
    total += kept.back().weight;
  }
  if (options.top_p >= 1.0) return kept;
  double sum = 0;
  size_t num_in_p = 0;
  while (num_in_p < kept.size() && (num_in_p == 0 || sum < options.top_p * total))
    sum += kept[num_in_p++].weight;
  kept.resize(num_in_p);
  return kept;
}

}  // namespace

std::vector<int64_t> end_token_ids(const models::Model& model,
                                   const std::filesystem::path& model_folder,
                                   const data::Tokenizer& tokenizer) {
  std::vector<int64_t> ids = model.spec.eos_token_ids;
  if (tokenizer.eos_token_id()) ids.push_back(*tokenizer.eos_token_id());
  const auto path = model_folder / "generation_config.json";
  if (!std::filesystem::exists(path)) return ids;
  const core::Json eos = core::read_json_file(path).value("eos_token_id", core::Json());
  if (eos.is_number_integer()) ids.push_back(eos);
  if (eos.is_array()) {
    for (const core::Json& id : eos) {
      if (id.is_number_integer()) ids.push_back(id);
    }
  }
  return ids;
}

int32_t sample_token(const at::Tensor& logits_V, const GenerateOptions& options, double uniform) {
  const at::Tensor logits = logits_V.to(at::kCPU, at::kFloat).contiguous();
  const std::span<const float> values(logits.const_data_ptr<float>(),
                                      static_cast<size_t>(logits.numel()));
  if (options.greedy || options.temperature <= 0) {
    return static_cast<int32_t>(std::ranges::max_element(values) - values.begin());
  }
  const auto kept = candidates(values, options);
  double total = 0;
  for (const Candidate& candidate : kept) total += candidate.weight;
  double left = uniform * total;
  for (const Candidate& candidate : kept) {
    left -= candidate.weight;
    if (left < 0) return candidate.id;
  }
  return kept.back().id;
}

void check_prompt(const models::Model& model, std::span<const int32_t> prompt_ids) {
  if (prompt_ids.empty())
    core::fail(core::ErrorKind::kBadInput, {.what = "the prompt has no tokens"});
  for (const int32_t id : prompt_ids) {
    if (id >= 0 && id < model.spec.vocab_size) continue;
    core::fail(core::ErrorKind::kBadInput,
               {.what = "the prompt has a token the model does not know",
                .got = std::to_string(id),
                .expected = "0 to " + std::to_string(model.spec.vocab_size - 1),
                .hint = "tokenizer and model don't belong together"});
  }
}

std::vector<int32_t> generate(const models::Model& model, std::span<const int32_t> prompt_ids,
                              const GenerateOptions& options,
                              const std::function<bool(int32_t)>& on_token) {
  check_prompt(model, prompt_ids);
  const at::NoGradGuard no_grad;
  const auto cache = models::make_kv_cache(
      model, static_cast<int64_t>(prompt_ids.size()) + options.max_new_tokens);
  std::vector<int32_t> ids;
  std::vector<int32_t> feed(prompt_ids.begin(), prompt_ids.end());
  while (static_cast<int64_t>(ids.size()) < options.max_new_tokens) {
    const at::Tensor logits_V = models::decode_step(model, feed, *cache);
    const double uniform =
        core::random_uniform(options.seed, core::RngSite::kSampling, 0, ids.size(), 0);
    const int32_t id = sample_token(logits_V, options, uniform);
    ids.push_back(id);
    if (on_token && !on_token(id)) break;
    if (std::ranges::find(options.eos_token_ids, id) != options.eos_token_ids.end()) break;
    feed.assign(1, id);
  }
  return ids;
}

}  // namespace hone::trainer
