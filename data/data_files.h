// Which files a dataset entry means.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace hone::data {

// The files of one source, sorted: `path` itself, what it matches if it is a pattern, or of a
// folder the files of the split (dataset_files.h; the card is its README.md). Throws kMissingInput
// if there are none.
std::vector<std::filesystem::path> resolve_files(const DatasetSource& source);

// SHA-256 of a file's content, remembered in `memo_folder` by path, size and modification time.
std::string content_hash(const std::filesystem::path& path,
                         const std::filesystem::path& memo_folder);

}  // namespace hone::data
