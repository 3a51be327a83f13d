#include "hub/resolve.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/text.h"
#include "hub/cache.h"
#include "hub/cache_repo.h"
#include "hub/push.h"
#include "hub/remote.h"
#include "hub/store.h"
#include "hub/token.h"

namespace hone::hub {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

constexpr uint64_t kWholeFileBytes = uint64_t{1} << 20;
constexpr uint64_t kSampleBytes = uint64_t{1} << 14;
constexpr uint64_t kNumSamples = 18;  // 16 between start and end
constexpr uint64_t kMaxReadBytes = uint64_t{64} << 20;
constexpr size_t kMaxNamed = 5;

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

void check_id(const std::string& id) {
  const std::string problem = repo_id_problem(id, /*owner_required=*/false);
  if (looks_like_path(id)) {
    core::fail(ErrorKind::kMissingInput, {.what = "no such folder", .where = id});
  }
  if (problem.empty()) return;
  core::fail(ErrorKind::kUsage, {.what = "neither a folder nor a repository id: " + problem,
                                 .got = "'" + id + "'",
                                 .expected = "a folder, or owner/name"});
}

// The revision in the local store; nothing, with the reason, when it lacks it.
std::optional<ResolvedRepo> find_in_store(const LocalStore& store, RepoKind kind,
                                          const std::string& id, const std::string& revision,
                                          std::string& reason) {
  reason = "it is not there";
  if (!repo_id_problem(id, true).empty() || !store.has_repo(kind, id)) return std::nullopt;
  try {
    const std::string commit = store.resolve(kind, id, revision);
    return ResolvedRepo{store.snapshot(kind, id, commit), Origin::kLocalStore, commit, commit};
  } catch (const core::Error& failure) {
    // Another revision may still be in the cache; damage is reported at once.
    if (failure.kind() != ErrorKind::kMissingInput) throw;
    reason = failure.detail().what;
    return std::nullopt;
  }
}

fs::path cache_of(const ResolveOptions& options) {
  return options.cache ? *options.cache : default_cache();
}

SelectFiles selection_of(RepoKind kind, const ResolveOptions& options) {
  if (options.select) return options.select;
  return kind == RepoKind::kModel ? select_model_files(ModelPart::kModel) : select_all_files;
}

// What a snapshot of the cache has of the files that are needed.
struct CachedFiles {
  bool is_listed = false;            // the cache knows all files of the commit
  std::vector<std::string> files;    // needed
  std::vector<std::string> missing;  // of those; or why that can't be told
};

CachedFiles check_needed(const fs::path& cache, RepoKind kind, const std::string& id,
                         const CacheHit& hit, const SelectFiles& select) {
  const CacheRepo repo(cache, kind, id);
  const std::optional<RepoTree> tree = repo.read_tree(hit.commit);
  CachedFiles cached{.is_listed = tree.has_value()};
  std::vector<std::string> paths;
  if (tree) {
    paths = tree->paths();
  } else {
    for (const auto& entry : fs::recursive_directory_iterator(hit.folder)) {
      if (entry.is_regular_file()) {
        paths.push_back(entry.path().lexically_relative(hit.folder).string());
      }
    }
    std::sort(paths.begin(), paths.end());
  }
  try {
    cached.files = select(paths, [&](const std::string& path) {
      return core::read_file(hit.folder / path, kMaxReadBytes);
    });
  } catch (const core::Error& error) {
    cached.missing.emplace_back(error.what());
    return cached;
  }
  for (const std::string& path : cached.files) {
    std::error_code error;
    if (!fs::is_regular_file(hit.folder / path, error)) cached.missing.push_back(path);
  }
  return cached;
}

ResolvedRepo from_cache(const CacheHit& hit, CachedFiles cached) {
  return {hit.folder, Origin::kHubCache, hit.commit, hit.commit, std::move(cached.files)};
}

ResolvedRepo from_endpoint(const HttpClient& client, const HubTarget& target,
                           const ResolveOptions& options, const PullSettings& settings) {
  PulledSnapshot pulled = pull_snapshot(client, cache_of(options), target,
                                        selection_of(target.kind, options), settings);
  return {std::move(pulled.folder), Origin::kEndpoint,      pulled.commit, pulled.commit,
          std::move(pulled.files),  pulled.downloaded_bytes};
}

// Who has something to fall back on asks twice, not six times.
std::string ask_briefly(const HttpClient& client, const HubTarget& target) {
  HttpConfig config = client.config();
  config.max_retries = 1;
  return find_remote_commit(HttpClient(std::move(config)), target);
}

[[noreturn]] void fail_incomplete(const std::string& id, const CacheHit& hit,
                                  const CachedFiles& cached) {
  std::vector<std::string> named = cached.missing;
  if (named.size() > kMaxNamed) named.resize(kMaxNamed);
  core::fail(ErrorKind::kMissingInput,
             {.what = "the Hugging Face cache has only a part of '" + id + "'",
              .where = hit.folder.string(),
              .got = "missing: " + core::join(named, ", ") +
                     (named.size() < cached.missing.size()
                          ? " and " + std::to_string(cached.missing.size() - named.size()) + " more"
                          : ""),
              .hint = "`hone pull` it while a hub can be reached"});
}

ResolvedRepo resolve_repo(RepoKind kind, const std::string& id, const std::string& revision,
                          const ResolveOptions& options) {
  std::error_code error;
  if (!id.empty() && fs::is_directory(id, error)) return from_folder(id, revision);
  check_id(id);
  const LocalStore store(options.store ? *options.store : LocalStore::default_root());
  std::string store_reason;
  if (auto found = find_in_store(store, kind, id, revision, store_reason)) return *found;

  const fs::path cache = cache_of(options);
  const CacheHit hit = find_in_cache(cache, kind, id, revision);
  const bool can_ask = options.connect != nullptr && !is_offline();
  if (!hit.folder.empty()) {
    CachedFiles cached = check_needed(cache, kind, id, hit, selection_of(kind, options));
    // Without a listing nobody can tell what a dataset lacks: better ask.
    const bool is_certain = cached.is_listed || kind == RepoKind::kModel;
    if (cached.missing.empty() && (is_certain || !can_ask)) return from_cache(hit, cached);
    if (!can_ask && cached.is_listed) fail_incomplete(id, hit, cached);
    if (!can_ask) return {hit.folder, Origin::kHubCache, hit.commit, hit.commit};
  }
  if (can_ask) {
    return from_endpoint(options.connect(), {.kind = kind, .id = id, .revision = revision}, options,
                         options.pull);
  }
  core::fail(ErrorKind::kMissingInput,
             {.what = "can't find '" + id + "' (revision " +
                      (revision.empty() ? "main" : revision) + "): 1. folder " +
                      fs::absolute(id, error).string() + ": it is not there; 2. local hub " +
                      store.root().string() + ": " + store_reason + "; 3. Hugging Face cache " +
                      (cache.empty() ? "(HOME is not set)" : cache.string()) + ": " + hit.reason +
                      (options.connect ? "; 4. endpoint: not asked, HF_HUB_OFFLINE or "
                                         "TRANSFORMERS_OFFLINE is set"
                                       : ""),
              .hint = "`hone push DIR ID` or `hone import FILE.gguf ID` puts it into the local "
                      "hub, `hone pull ID` brings it from an endpoint"});
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
    case Origin::kEndpoint:
      return "endpoint";
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

ResolvedRepo resolve_at_endpoint(RepoKind kind, const std::string& id, const std::string& revision,
                                 const ResolveOptions& options) {
  check_id(id);
  if (is_offline()) return resolve_repo(kind, id, revision, options);
  const HubTarget target{.kind = kind, .id = id, .revision = revision};
  const HttpClient client = options.connect();
  const fs::path cache = cache_of(options);
  const CacheHit hit = find_in_cache(cache, kind, id, revision);
  if (hit.folder.empty()) return from_endpoint(client, target, options, options.pull);
  CachedFiles cached = check_needed(cache, kind, id, hit, selection_of(kind, options));
  if (!cached.missing.empty()) return from_endpoint(client, target, options, options.pull);
  try {
    PullSettings settings = options.pull;
    settings.commit = ask_briefly(client, target);
    return from_endpoint(client, target, options, settings);
  } catch (const core::Error& failure) {
    if (failure.kind() != ErrorKind::kUnavailable) throw;
    spdlog::warn("{}; using commit {} of the Hugging Face cache", failure.what(),
                 hit.commit.substr(0, 12));
    return from_cache(hit, std::move(cached));
  }
}

std::string folder_fingerprint(const fs::path& folder) {
  core::Sha256 hash;
  for (const std::string& name : folder_entries(folder)) {
    std::error_code error;
    const auto matches = [&](const std::string& pattern) { return matches_pattern(name, pattern); };
    const auto& patterns = model_file_patterns();
    const bool counts = std::any_of(patterns.begin(), patterns.end(), matches);
    const fs::path path = folder / name;
    if (!counts || !fs::is_regular_file(path, error)) continue;
    hash.update(name + '\n' + std::to_string(fs::file_size(path)) + '\n');
    add_samples(hash, path);
  }
  return "sha256:" + hash.hex();
}

}  // namespace hone::hub
