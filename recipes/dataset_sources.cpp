#include "recipes/dataset_sources.h"

#include <algorithm>
#include <system_error>

#include "data/dataset_files.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCard = "README.md";

bool is_id(const fs::path& path) {
  std::error_code error;
  return !fs::exists(path, error) && hub::repo_id_problem(path.string(), true).empty();
}

// The files of the split, by the rules of the hub, and the card those rules are read from.
hub::SelectFiles split_of(const data::DatasetSource& source) {
  return [source](const std::vector<std::string>& paths, const hub::ReadFile& read) {
    const bool has_card = std::find(paths.begin(), paths.end(), kCard) != paths.end();
    const std::string where =
        (source.where.empty() ? "" : source.where + ": ") + source.path.string();
    std::vector<std::string> files = data::choose_dataset_files(
        paths, has_card ? read(kCard) : "", source.config_name, source.split, where);
    if (has_card && std::find(files.begin(), files.end(), kCard) == files.end()) {
      files.emplace_back(kCard);
    }
    return files;
  };
}

}  // namespace

std::vector<data::DatasetSource> fetch_datasets(std::vector<data::DatasetSource> sources,
                                                hub::ResolveOptions options,
                                                std::vector<NamedRepo>& found) {
  for (data::DatasetSource& source : sources) {
    if (!is_id(source.path)) continue;
    const std::string id = source.path.string();
    options.select = split_of(source);
    const hub::ResolvedRepo repo = hub::resolve_dataset(id, source.revision, options);
    source.path = repo.folder;
    found.push_back({id, repo});
  }
  return sources;
}

}  // namespace hone::recipes
