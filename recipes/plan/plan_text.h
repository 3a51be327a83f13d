// A plan as a person or a program reads it.
#pragma once

#include <string>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "recipes/plan/plan.h"

namespace hone::recipes {

std::string plan_text(const PlanInput& input, const Plan& plan, const std::vector<Change>& changes);
core::Json plan_json(const PlanInput& input, const Plan& plan, const std::vector<Change>& changes);

// The best `count`, a line each.
std::string search_text(const SearchResult& result, size_t count);
core::Json search_json(const SearchResult& result, size_t count);

// Why it does not fit: what is needed of what there is, on which rank, what takes most of it, and
// what would save most.
core::ErrorDetail shortage(const std::string& recipe, const PlanInput& input, const Plan& plan);

}  // namespace hone::recipes
