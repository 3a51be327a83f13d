#include "data/data_files.h"

#include "core/error.h"
#include "core/files.h"
#include "data/dataset_files.h"
#include "data/glob.h"

namespace hone::data {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

// README.md of a dataset folder; cards are small, and one that is not is not read.
std::string card_of(const fs::path& folder) {
  constexpr uintmax_t kMaxCardBytes = uintmax_t{16} << 20;
  std::error_code failed;
  const uintmax_t size = fs::file_size(folder / "README.md", failed);
  return failed || size > kMaxCardBytes ? "" : core::read_file(folder / "README.md");
}

std::vector<fs::path> files_of_folder(const DatasetSource& source) {
  const std::string where =
      (source.where.empty() ? "" : source.where + ": ") + source.path.string();
  std::vector<fs::path> files;
  for (const std::string& file : choose_dataset_files(list_files(source.path), card_of(source.path),
                                                      source.config_name, source.split, where)) {
    files.push_back(source.path / file);
  }
  return files;
}

// Without a split every match is meant.
std::vector<fs::path> files_of_glob(const DatasetSource& source) {
  std::vector<fs::path> found = expand_glob(source.path.string());
  if (found.empty()) {
    core::fail(ErrorKind::kMissingInput,
               {.what = "no file matches " + source.path.string(), .where = source.where});
  }
  if (source.split.empty()) return found;
  std::vector<std::string> names;
  for (const fs::path& file : found) names.push_back(file.string());
  const std::vector<std::string> chosen =
      choose_dataset_files(names, "", "", source.split, source.where);
  return {chosen.begin(), chosen.end()};
}

// A file named after another split than the one asked for is a mistake in the recipe.
void check_split_of_file(const DatasetSource& source) {
  if (source.split.empty() || source.split == "train") return;
  choose_dataset_files({source.path.filename().string()}, "", "", source.split,
                       source.where + ": " + source.path.string());
}

}  // namespace

std::vector<fs::path> resolve_files(const DatasetSource& source) {
  std::error_code ignored;
  if (fs::is_directory(source.path, ignored)) return files_of_folder(source);
  if (!fs::exists(source.path, ignored)) {
    if (is_glob(source.path.string())) return files_of_glob(source);
    core::fail(ErrorKind::kMissingInput,
               {.what = "dataset not found: " + source.path.string(), .where = source.where});
  }
  check_split_of_file(source);
  return {source.path};
}

}  // namespace hone::data
