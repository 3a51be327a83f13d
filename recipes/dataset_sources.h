// Datasets that a recipe names by their id become folders.
#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"
#include "hub/resolve.h"

namespace hone::recipes {

struct NamedRepo {
  std::string name;  // as the recipe writes it
  hub::ResolvedRepo repo;
};

// Replaces the path of each source that is nothing on this disk, and could be an id, by the folder
// of that dataset; of a remote one only the files of the source's split are fetched. Adds what was
// found to `found`. Throws as hub::resolve_dataset and data::choose_dataset_files do.
std::vector<data::DatasetSource> fetch_datasets(std::vector<data::DatasetSource> sources,
                                                hub::ResolveOptions options,
                                                std::vector<NamedRepo>& found);

}  // namespace hone::recipes
