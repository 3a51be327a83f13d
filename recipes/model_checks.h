// What a recipe asks of its model that the model can't do.
#pragma once

#include <optional>

#include "models/spec/model_spec.h"
#include "recipes/cross_checks.h"
#include "recipes/rank_checks.h"
#include "recipes/recipe.h"

namespace hone::recipes {

// For a model whose config.json is there while the recipe is read. Without a plan what depends on
// the layout is left out.
void report_misfits(const CheckContext& context, const models::ModelSpec& spec,
                    const std::optional<RankPlan>& plan);

// The same once the model is there: throws kBadRecipe with every problem in one message, each with
// the line of its key.
void require_fit(const Recipe& recipe, const models::ModelSpec& spec);

}  // namespace hone::recipes
