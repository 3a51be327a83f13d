// Which checkpoint is the best, and when to stop because none gets better: the Hugging Face
// Trainer's load_best_model_at_end and EarlyStoppingCallback, as values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/json.h"

namespace hone::trainer {

struct SelectionOptions {
  std::string metric = "eval_loss";  // a number of the evaluation rows of metrics.jsonl
  bool greater_is_better = false;
  bool keep_best = false;  // save_total_limit leaves the best checkpoint alone
  bool load_best_model_at_end = false;
  int64_t early_stopping_patience = 0;  // evaluations; 0: never stop early
  double early_stopping_threshold = 0;  // an improvement counts when it is larger
};

// Part of a checkpoint. Evaluations at eval_steps count; the one before the first step does not,
// because no checkpoint is that model.
struct SelectionState {
  std::optional<double> best_metric;
  double best_eval_loss = 0;  // of the same evaluation
  int64_t best_step = 0;
  int64_t last_step = 0;            // of the last evaluation that was counted
  int64_t num_bad_evaluations = 0;  // in a row, without an improvement above the threshold
};

// Counts a row of metrics.jsonl that an evaluation made, unless it or a later one was counted
// before. Returns whether it is the best so far.
bool take_evaluation(const SelectionOptions& options, const core::Json& eval_row,
                     SelectionState& state);

bool wants_early_stop(const SelectionOptions& options, const SelectionState& state);

// run.json's "best": {"metric_for_best_model", "best_metric", "best_step",
// "best_model_checkpoint"}; null before the first evaluation that counts.
core::Json selection_json(const SelectionOptions& options, const SelectionState& state);

}  // namespace hone::trainer
