// What is done about evaluation rows that also stand in the training data.
#pragma once

#include <filesystem>
#include <string>

#include "data/contamination.h"
#include "recipes/recipe.h"

namespace hone::recipes {

// The check, with its result remembered below `cache_root` by the keys of the two caches.
data::Contamination check_contamination(const data::TokenCache& train, const data::TokenCache& eval,
                                        const std::filesystem::path& cache_root);

// "12 of 500 evaluation rows also stand in the training data (2 identical, 10 by ...)".
std::string contamination_text(const data::Contamination& found);

// Warns, or throws kBadInput, or returns the evaluation data without these rows, as the policy
// says. Throws kBadInput when no row would be left.
data::TokenCache apply_contamination_policy(ContaminationPolicy policy,
                                            const data::Contamination& found,
                                            const data::TokenCache& eval,
                                            const std::filesystem::path& cache_root);

}  // namespace hone::recipes
