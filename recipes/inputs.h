// From a recipe to what training reads: folders of model and tokenizer, token caches.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/contamination.h"
#include "data/dataset.h"
#include "data/tokenizer.h"
#include "hub/resolve.h"
#include "recipes/dataset_sources.h"
#include "recipes/recipe.h"

namespace hone::recipes {

// $XDG_CACHE_HOME/hone/tokens, default ~/.cache/hone/tokens.
std::filesystem::path token_cache_root();
// SHA-256 of a file, remembered in the cache as long as its size and time stay the same.
std::string file_hash(const std::filesystem::path& path);

struct ResolvedInputs {
  hub::ResolvedRepo model;
  std::filesystem::path tokenizer_folder;
  std::optional<hub::ResolvedRepo> adapter;  // adapter.path
};

// Looks the recipe's ids up, hub_endpoint included, and pulls what is nowhere near. Throws
// kMissingInput naming the places searched, and as hub::pull_snapshot does.
ResolvedInputs resolve_inputs(const Recipe& recipe);

struct PreparedData {
  data::TokenCache train;
  std::optional<data::TokenCache> eval;
  std::vector<std::string> train_names, eval_names;  // of their sources
  std::vector<NamedRepo> repos;                      // datasets that the recipe names by their id
  std::optional<data::Contamination> contamination;  // of the evaluation data before any is dropped
};

// Opens or builds the token caches, with progress on a terminal. Throws as data::prepare_dataset
// does.
PreparedData prepare_data(const Recipe& recipe, const data::Tokenizer& tokenizer);

// The loader of evaluation data: the same packing, in file order.
data::LoaderOptions eval_loader_options(const Recipe& recipe);

}  // namespace hone::recipes
