// README.md and loss_curve.svg of a finished run.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "formats/model_card.h"
#include "recipes/inputs.h"
#include "recipes/recipe.h"

namespace hone::recipes {

struct RunOutcome {
  int64_t step = 0;
  double last_loss = 0;
  std::optional<double> first_eval_loss, last_eval_loss;
  std::string dtype;
  std::vector<formats::ModelCardProof> proofs;
};

// Reads metrics.jsonl of the output folder; writes both files into it.
void write_run_card(const Recipe& recipe, const ResolvedInputs& inputs, const PreparedData& data,
                    const RunOutcome& outcome);

}  // namespace hone::recipes
