// A finished run as its run.json tells it: what it was made from, whether that is still there, and
// the recipe that makes it again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "recipes/recipe.h"

namespace hone::recipes {

struct RecordedRun {
  std::filesystem::path folder;  // absolute
  core::Json info;               // run.json
  int64_t step = 0;              // updates done
  bool finished = false;         // false: stopped by a signal after `step`
};

// Throws kMissingInput without a run.json; kBadInput when it is broken, lacks what a rerun needs,
// or the run is not over or failed.
RecordedRun read_run(const std::filesystem::path& folder);

// The resolved recipe of the run as the text of a recipe that does the same `num_steps` again into
// `output_dir`: the model at its commit, the dtype that was chosen, the schedule's length as it
// was, nothing pushed or reported.
std::string rerun_recipe(const RecordedRun& run, const std::filesystem::path& output_dir,
                         int64_t num_steps);

// The command that does it: `program` train `recipe_file`, under mpirun where the recipe has more
// than one rank. More ranks than cores are let through, as the run may have had more machines.
std::vector<std::string> rerun_command(const Recipe& recipe, const std::filesystem::path& program,
                                       const std::filesystem::path& recipe_file);

// Name and SHA-256 of every data file of a recipe: {"path", "sha256"}, in order, for run.json.
core::Json data_files_json(const Recipe& recipe);

// One line for each input that is not what it was: model, adapter, tokenizer, data files, and what
// the data options make of them. Empty when all are the same. Throws what resolving them throws.
std::vector<std::string> changed_inputs(const RecordedRun& run, const Recipe& recipe);

// Leaves of two JSON objects that differ: "cpu: then A, now B". For `machine` and `versions` of two
// run.json, between which numbers may differ.
std::vector<std::string> changed_values(const core::Json& then, const core::Json& now);

}  // namespace hone::recipes
