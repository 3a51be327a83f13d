#include "hub/resolve.h"

#include <algorithm>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "hub/cache.h"
#include "hub/push.h"
#include "hub/store.h"

namespace hone::hub {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

constexpr uint64_t kWholeFileBytes = uint64_t{1} << 20;
constexpr uint64_t kSampleBytes = uint64_t{1} << 14;
constexpr uint64_t kNumSamples = 18;  // 16 between start and end

bool is_default(const std::string& revision) { return revision.empty() || revision == "main"; }

bool looks_like_path(const std::string& id) {
  return id.starts_with('/') || id.starts_with("./") || id.starts_with("../") ||
         id.starts_with('~') || id.ends_with('/') || std::count(id.begin(), id.end(), '/') > 1;
}

ResolvedRepo from_folder(const fs::path& folder, const std::string& revision) {
  if (!is_default(revision)) {
    core::fail(ErrorKind::kUsage, {.what = "a folder has no revisions",
                                   .where = folder.string(),
                                   .got = "revision '" + revision + "'",
                                   .hint = "leave the revision out, or rename the folder if the "
                                           "hub's repository of this name is meant"});
  }
  return {folder, Origin::kFolder, "", folder_fingerprint(folder)};
}

void add_samples(core::Sha256& hash, const fs::path& path) {
  const core::MappedFile file(path);
  const std::string_view text = file.text();
  if (text.size() <= kWholeFileBytes) {
    hash.update(text);
    return;
  }
  for (uint64_t i = 0; i < kNumSamples; ++i) {
    hash.update(text.substr((text.size() - kSampleBytes) / (kNumSamples - 1) * i, kSampleBytes));
  }
  hash.update(text.substr(text.size() - kSampleBytes));
}

ResolvedRepo resolve_repo(RepoKind kind, const std::string& id, const std::string& revision,
                          const ResolveOptions& options) {
  std::error_code error;
  if (!id.empty() && fs::is_directory(id, error)) return from_folder(id, revision);
  const bool is_path = looks_like_path(id);
  const std::string problem = repo_id_problem(id, /*owner_required=*/false);
  if (!is_path && !problem.empty()) {
    core::fail(ErrorKind::kUsage, {.what = "neither a folder nor a repository id: " + problem,
                                   .got = "'" + id + "'",
                                   .expected = "a folder, or owner/name"});
  }
  if (is_path) core::fail(ErrorKind::kMissingInput, {.what = "no such folder", .where = id});

  const LocalStore store(options.store ? *options.store : LocalStore::default_root());
  std::string store_reason = "it is not there";
  if (repo_id_problem(id, true).empty() && store.has_repo(kind, id)) {
    try {
      const std::string commit = store.resolve(kind, id, revision);
      return {store.snapshot(kind, id, commit), Origin::kLocalStore, commit, commit};
    } catch (const core::Error& failure) {
      // Another revision may still be in the cache; damage is reported at once.
      if (failure.kind() != ErrorKind::kMissingInput) throw;
      store_reason = failure.detail().what;
    }
  }
  const fs::path cache = options.cache ? *options.cache : default_cache();
  const CacheHit hit = find_in_cache(cache, kind, id, revision);
  if (!hit.folder.empty()) return {hit.folder, Origin::kHubCache, hit.commit, hit.commit};
  core::fail(ErrorKind::kMissingInput,
             {.what = "can't find '" + id + "' (revision " +
                      (revision.empty() ? "main" : revision) + "): 1. folder " +
                      fs::absolute(id, error).string() + ": it is not there; 2. local hub " +
                      store.root().string() + ": " + store_reason + "; 3. Hugging Face cache " +
                      (cache.empty() ? "(HOME is not set)" : cache.string()) + ": " + hit.reason,
              .hint = "`hone push DIR ID` or `hone import FILE.gguf ID` puts it into the local "
                      "hub; `hone pull` "
                      "from elsewhere needs an endpoint"});
}

}  // namespace

std::string_view to_string(Origin origin) {
  switch (origin) {
    case Origin::kFolder:
      return "folder";
    case Origin::kLocalStore:
      return "local hub";
    case Origin::kHubCache:
      return "Hugging Face cache";
  }
  return "";
}

ResolvedRepo resolve_model(const std::string& id, const std::string& revision,
                           const ResolveOptions& options) {
  return resolve_repo(RepoKind::kModel, id, revision, options);
}

ResolvedRepo resolve_dataset(const std::string& id, const std::string& revision,
                             const ResolveOptions& options) {
  return resolve_repo(RepoKind::kDataset, id, revision, options);
}

std::string folder_fingerprint(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::error_code error;
    const std::string name = entry.path().filename().string();
    const auto matches = [&](const std::string& pattern) { return matches_pattern(name, pattern); };
    const auto& patterns = model_file_patterns();
    const bool counts = std::any_of(patterns.begin(), patterns.end(), matches);
    if (counts && fs::is_regular_file(entry.path(), error)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  core::Sha256 hash;
  for (const fs::path& path : files) {
    hash.update(path.filename().string() + '\n' + std::to_string(fs::file_size(path)) + '\n');
    add_samples(hash, path);
  }
  return "sha256:" + hash.hex();
}

}  // namespace hone::hub
