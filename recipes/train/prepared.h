// What a run has before its model: folders, where it starts, tokens, dtype. The same on all ranks.
#pragma once

#include <filesystem>
#include <optional>

#include "data/loader.h"
#include "data/tokenizer.h"
#include "parallel/comm/communicator.h"
#include "recipes/inputs.h"
#include "recipes/recipe.h"
#include "recipes/train/dtype_choice.h"
#include "recipes/train/start.h"
#include "recipes/train/watch.h"

namespace hone::recipes {

struct Prepared {
  ResolvedInputs inputs;
  std::optional<std::filesystem::path> checkpoint;  // to go on from
  double verify_seconds = 0;                        // that finding and checking it took
  std::optional<data::Tokenizer> tokenizer;
  PreparedData data;
  std::optional<data::Loader> train_loader, eval_loader;
  at::Device device = at::kCPU;
  DtypeChoice dtype;
};

// Collective. Resolves the recipe's max_steps and fills its train.identity. Rank 0 fetches and
// tokenizes first, the others find what it made. Throws whatever is wrong, on all ranks: inputs,
// output folder or checkpoint, backend, ranks that have other models or data.
Prepared prepare(const StartOptions& start, Recipe& recipe, Profile& profile,
                 parallel::Communicator& world);

// run_info with the statistics of the data and the checkpoint that the run goes on from.
core::Json info_of_run(const Recipe& recipe, const Prepared& prepared);

}  // namespace hone::recipes
