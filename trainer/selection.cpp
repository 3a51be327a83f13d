#include "trainer/selection.h"

#include <cmath>

namespace hone::trainer {

bool take_evaluation(const SelectionOptions& options, const core::Json& eval_row,
                     SelectionState& state) {
  const int64_t step = eval_row.at("step");
  if (step <= state.last_step) return false;
  state.last_step = step;
  const double value = eval_row.at(options.metric);
  const bool improves =
      !state.best_metric ||
      (options.greater_is_better ? value > *state.best_metric : value < *state.best_metric);
  const bool counts = improves && (!state.best_metric || std::abs(value - *state.best_metric) >
                                                             options.early_stopping_threshold);
  state.num_bad_evaluations = counts ? 0 : state.num_bad_evaluations + 1;
  if (!improves) return false;
  state.best_metric = value;
  state.best_eval_loss = eval_row.at("eval_loss");
  state.best_step = step;
  return true;
}

bool wants_early_stop(const SelectionOptions& options, const SelectionState& state) {
  return options.early_stopping_patience > 0 &&
         state.num_bad_evaluations >= options.early_stopping_patience;
}

core::Json selection_json(const SelectionOptions& options, const SelectionState& state) {
  if (!state.best_metric) return nullptr;
  return {{"metric_for_best_model", options.metric},
          {"best_metric", *state.best_metric},
          {"best_step", state.best_step},
          {"best_model_checkpoint", "checkpoint-" + std::to_string(state.best_step)}};
}

}  // namespace hone::trainer
