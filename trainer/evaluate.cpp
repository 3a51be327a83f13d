#include "trainer/evaluate.h"

#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "trainer/numerical.h"

namespace hone::trainer {
namespace {

kernels::HeadLoss loss_of(const models::Model& model, const data::MicroBatch& micro_batch) {
  const models::Batch batch =
      models::make_batch(model, micro_batch.input_ids, micro_batch.position_ids, micro_batch.labels,
                         micro_batch.cu_doc_lens);
  const models::ForwardContext context;
  at::Tensor x_TD;
  for (size_t stage = 0; stage + 1 < model.stages.size(); ++stage) {
    x_TD = model.stages[stage].forward(x_TD, batch, context);
  }
  kernels::HeadLoss loss = model.head(x_TD, batch, 1.0, false, context);
  if (!std::isfinite(loss.loss_sum)) {
    fail_not_finite(model, "the evaluation loss is not finite", loss.loss_sum, {&micro_batch, 1});
  }
  return loss;
}

}  // namespace

std::optional<EvalResult> evaluate(const models::Model& model, const data::Loader& loader,
                                   const EvalHooks& hooks) {
  const at::NoGradGuard no_grad;
  EvalResult result;
  if (loader.num_sources() > 1) {
    result.by_source.resize(static_cast<size_t>(loader.num_sources()));
  }
  double loss_sum = 0;
  const int64_t num_steps = loader.num_steps_per_epoch(0);
  for (int64_t step = 0; step < num_steps; ++step) {
    for (int64_t index = 0; index < loader.num_micro_batches(step); ++index) {
      if (hooks.should_stop && hooks.should_stop()) return std::nullopt;
      const data::MicroBatch micro_batch = loader.micro_batch(step, index);
      const kernels::HeadLoss loss = loss_of(model, micro_batch);
      loss_sum += loss.loss_sum;
      add_losses(micro_batch, loss.losses, result.by_source);
      result.num_trained_tokens += micro_batch.num_trained_tokens;
      result.num_tokens += static_cast<int64_t>(micro_batch.input_ids.size());
    }
    if (hooks.progress)
      hooks.progress(static_cast<double>(step + 1) / static_cast<double>(num_steps));
  }
  if (result.num_trained_tokens == 0) {
    core::fail(core::ErrorKind::kBadInput, {.what = "the evaluation data has no trained tokens"});
  }
  result.loss = loss_sum / static_cast<double>(result.num_trained_tokens);
  result.perplexity = std::exp(result.loss);
  return result;
}

}  // namespace hone::trainer
