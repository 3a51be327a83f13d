// Which layers a rank of a recipe's pipeline has, in numbers and in words.
#pragma once

#include <optional>
#include <string>

#include "models/spec/model_spec.h"
#include "parallel/pipeline.h"
#include "recipes/recipe.h"

namespace hone::recipes {

// Chunks of about equal cost for rows of the recipe's max_length; all stages on one rank where the
// recipe has no pipeline. The model must fit (model_checks.h).
parallel::Pipeline pipeline_of(const Recipe& recipe, const models::ModelSpec& spec);

// The part of a step in which a rank waits for others, were all chunks of one cost:
// (pp - 1) / (m v + pp - 1) of m micro-batches and v chunks a rank (arXiv:2104.04473).
double pipeline_bubble(const Recipe& recipe);

// The same for the chunks of pipeline_of, by the floating-point operations of their stages, all of
// them trained.
double bubble_of_stages(const Recipe& recipe, const models::ModelSpec& spec);

// "dp_shard 2 x pp 2; stages 0-15 on pp rank 0, 16-31 on pp rank 1; bubble 20.0 % = ...". Without a
// model what depends on it is left out.
std::string layout_text(const Recipe& recipe, const std::optional<models::ModelSpec>& spec);

}  // namespace hone::recipes
