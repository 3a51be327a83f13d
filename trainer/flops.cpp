#include "trainer/flops.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "models/model.h"

namespace hone::trainer {
namespace {

constexpr double kForward = 2, kInputGradient = 2, kWeightGradient = 2;

bool has_trainable(const models::Stage& stage) { return models::num_trainable(stage) > 0; }

// A matrix of a block or the head; `below`: no gradient has to pass through it.
// Whole, on whichever ranks it is.
void count_matrix(const models::Parameter& parameter, bool below, FlopCounts::Weights& weights) {
  if (parameter.shape.size() != 2) return;
  (parameter.is_trainable ? weights.trained
   : below                ? weights.frozen_below
                          : weights.frozen) += c10::multiply_integers(parameter.shape);
}

void count_matrices(const models::Stage& stage, bool below, FlopCounts::Weights& weights) {
  for (const models::Parameter& parameter : stage.parameters)
    count_matrix(parameter, below, weights);
}

void count_head(const models::Model& model, bool below, FlopCounts::Weights& weights) {
  const models::Stage& head = model.stages.back();
  count_matrices(head, below, weights);
  if (head.shares_with < 0) return;
  for (const models::Parameter& parameter : model.stages.front().parameters) {
    if (parameter.name.ends_with("embed_tokens.weight")) count_matrix(parameter, below, weights);
  }
}

void count_attention(const models::ModelSpec& spec, size_t layer, bool below, FlopCounts& counts) {
  const int64_t window = spec.layers[layer].mixer == models::MixerKind::kSlidingAttention
                             ? spec.layers[layer].sliding_window
                             : 0;
  auto group = std::ranges::find_if(counts.attention,
                                    [&](const auto& layers) { return layers.window == window; });
  if (group == counts.attention.end()) group = counts.attention.insert(group, {.window = window});
  // Scores and weighted values forward; gradients of both factors of both products backward.
  constexpr double kProducts = 2, kBoth = 2 * kInputGradient;
  const double per_element = kProducts * (kForward + (below ? 0 : kBoth));
  group->flops_per_pair += per_element * static_cast<double>(spec.num_heads * spec.head_dim);
}

}  // namespace

double FlopCounts::Weights::flops() const {
  return (kForward + kInputGradient + kWeightGradient) * static_cast<double>(trained) +
         (kForward + kInputGradient) * static_cast<double>(frozen) +
         kForward * static_cast<double>(frozen_below);
}

FlopCounts count_flops(const models::Model& model) {
  FlopCounts counts;
  const size_t head = model.stages.size() - 1;
  bool below = !has_trainable(model.stages[0]);
  for (size_t stage = 1; stage < head; ++stage) {
    below = below && !has_trainable(model.stages[stage]);
    count_matrices(model.stages[stage], below, counts.blocks);
    count_attention(model.spec, stage - 1, below, counts);
  }
  count_head(model, below, counts.head);
  return counts;
}

StepFlops flops_of(const FlopCounts& counts, std::span<const data::MicroBatch> micro_batches) {
  StepFlops flops;
  for (const data::MicroBatch& micro_batch : micro_batches) {
    flops.blocks += counts.blocks.flops() * static_cast<double>(micro_batch.input_ids.size());
    flops.head += counts.head.flops() * static_cast<double>(micro_batch.num_trained_tokens);
    for (size_t i = 0; i + 1 < micro_batch.cu_doc_lens.size(); ++i) {
      const int64_t length = micro_batch.cu_doc_lens[i + 1] - micro_batch.cu_doc_lens[i];
      for (const auto& layers : counts.attention) {
        flops.attention += layers.flops_per_pair *
                           static_cast<double>(models::attention_pairs(length, layers.window));
      }
    }
  }
  return flops;
}

std::string describe_weights(const FlopCounts::Weights& weights) {
  std::string text;
  const auto add = [&](int factor, int64_t count, const char* what) {
    if (count == 0) return;
    text += fmt::format("{}{} x {:.4g} M {}", text.empty() ? "" : " + ", factor,
                        1e-6 * static_cast<double>(count), what);
  };
  add(6, weights.trained, "trained");
  add(4, weights.frozen, "frozen");
  add(2, weights.frozen_below, "frozen below the lowest trained layer");
  return text.empty() ? "0" : text;
}

}  // namespace hone::trainer
