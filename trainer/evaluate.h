// Loss of a model over a dataset.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "data/loader.h"
#include "models/model.h"
#include "trainer/source_loss.h"

namespace hone::trainer {

struct EvalResult {
  double loss = 0;        // mean negative log likelihood over trained tokens, in nats
  double perplexity = 0;  // exp(loss)
  int64_t num_trained_tokens = 0;
  int64_t num_tokens = 0;
  SourceLosses by_source;
};

struct EvalHooks {
  std::function<void(double fraction)> progress;
  std::function<bool()> should_stop;  // asked before every micro-batch
};

// One pass (epoch 0) over the loader, no dropout, no gradients. nullopt when should_stop said so.
// Throws kNumerical naming the sample ids of the first micro-batch whose loss is not finite.
std::optional<EvalResult> evaluate(const models::Model& model, const data::Loader& loader,
                                   const EvalHooks& hooks = {});

}  // namespace hone::trainer
