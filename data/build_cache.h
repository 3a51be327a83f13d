// Rows to token cache, by all cores, in the order of the files.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace hone::data {

// `files[i]` are the files of sources[i]. Throws as prepare_dataset does; the cache folder appears
// whole or not at all.
void build_token_cache(const std::vector<DatasetSource>& sources,
                       const std::vector<std::vector<std::filesystem::path>>& files,
                       const DatasetOptions& options, const Tokenizer& tokenizer,
                       const std::filesystem::path& cache_folder, const std::string& key,
                       const Progress& progress);

}  // namespace hone::data
