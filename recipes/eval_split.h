// Holding out rows of the training data for evaluation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace hone::recipes {

struct SplitCaches {
  data::TokenCache train, eval;
};

// The rows marked in `chosen`, in the order of the whole, as a cache of their own below
// `cache_root`; opened if it is there. `name` tells choices apart.
data::TokenCache select_rows(const data::TokenCache& whole, const std::vector<bool>& chosen,
                             const std::string& name, const std::filesystem::path& cache_root);

// `amount` below 1 is a fraction of the rows (at least one), else a number of rows. Which rows is a
// pure function of (seed, number of rows); both parts keep the order of the file. They are caches
// of their own below `cache_root`, opened if they are there. Throws kBadRecipe when no row would be
// left to train on.
SplitCaches split_cache(const data::TokenCache& whole, double amount, uint64_t seed,
                        const std::filesystem::path& cache_root);

}  // namespace hone::recipes
