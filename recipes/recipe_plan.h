// From a recipe to its plan.
#pragma once

#include <string>

#include "models/spec/model_spec.h"
#include "recipes/plan/plan_input.h"
#include "recipes/recipe.h"

namespace hone::recipes {

// `dtype` auto is bfloat16 on a GPU, float32 on a CPU. The model must fit the layout
// (model_checks.h). An adapter that is continued has the options of its `adapter_folder`: throws as
// models::read_adapter_config.
PlanInput plan_input(const Recipe& recipe, const models::ModelSpec& spec, const Hardware& hardware,
                     const std::string& adapter_folder);

// The numbers of a model whose weights need not be there: of a config.json or a folder that has
// one (`config`, "": the recipe's model, in a folder, the local store or the Hugging Face cache).
// Throws kMissingInput where there is none.
models::ModelSpec spec_to_plan(const Recipe& recipe, const std::string& config);

}  // namespace hone::recipes
