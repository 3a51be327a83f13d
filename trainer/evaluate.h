// Loss of a model over a dataset.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "data/loader.h"
#include "models/model.h"
#include "parallel/comm/mesh.h"
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
  // Asked before every round of micro-batches; the same answer on all ranks.
  std::function<bool()> should_stop;
};

// One pass (epoch 0) over the loader, no dropout, no gradients; micro-batches are dealt out to the
// mesh's ranks, and the result is the same on all, bit by bit for any number of them. nullopt when
// should_stop said so. Throws kNumerical naming the sample ids of the first micro-batch whose loss
// is not finite.
std::optional<EvalResult> evaluate(models::Model& model, const data::Loader& loader,
                                   parallel::Mesh& mesh, const EvalHooks& hooks = {});
std::optional<EvalResult> evaluate(models::Model& model, const data::Loader& loader,
                                   const EvalHooks& hooks = {});  // on one rank

}  // namespace hone::trainer
