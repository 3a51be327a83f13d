#include "hub/cache.h"

#include <algorithm>
#include <cstdlib>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "core/files.h"

namespace hone::hub {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

constexpr size_t kShortestPrefix = 4;
constexpr uint64_t kMaxRefBytes = 4096;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// Older clients left a newline behind the id.
std::string trimmed(std::string text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
  while (!text.empty() && is_space(text.back())) text.pop_back();
  return text;
}

// Snapshots whose commit starts with `prefix`.
std::vector<std::string> snapshots_with(const fs::path& repo, const std::string& prefix) {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(repo / "snapshots", error)) {
    const std::string name = entry.path().filename().string();
    if (is_commit_id(name) && name.starts_with(prefix)) found.push_back(name);
  }
  return found;
}

// The commit, or "" with the reason in `hit`.
std::string find_commit(const fs::path& repo, const std::string& revision, CacheHit& hit) {
  if (is_commit_id(revision)) return revision;
  const fs::path ref = repo / "refs" / revision;
  std::error_code error;
  if (core::is_safe_relative_path(revision) && fs::is_regular_file(ref, error)) {
    std::string commit = trimmed(core::read_file(ref, kMaxRefBytes));
    if (is_commit_id(commit)) return commit;
    hit.reason =
        "its file " + ref.string() + " is damaged (no commit id): delete it and download again";
    return "";
  }
  if (revision.size() >= kShortestPrefix) {
    const auto found = snapshots_with(repo, revision);
    if (found.size() == 1) return found.front();
    if (found.size() > 1) {
      hit.reason = "several commits start with '" + revision + "'";
      return "";
    }
  }
  hit.reason = "it has the repository, but not revision '" + revision + "'";
  return "";
}

// Every file must lead, through any number of links, to a file inside the cache.
void check_snapshot(const fs::path& cache, const fs::path& folder) {
  const fs::path root = fs::canonical(cache);
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    std::error_code error;
    const fs::path target = fs::canonical(entry.path(), error);
    if (error) {
      core::fail(ErrorKind::kBadInput,
                 {.what = "a file of the Hugging Face cache has lost its content",
                  .where = entry.path().string(),
                  .hint = "delete the snapshot and download it again"});
    }
    const fs::path relative = target.lexically_relative(root);
    if (relative.empty() || *relative.begin() == "..") {
      core::fail(ErrorKind::kBadInput, {.what = "a link of the Hugging Face cache leaves the cache",
                                        .where = entry.path().string(),
                                        .got = target.string(),
                                        .expected = "a file below " + root.string()});
    }
  }
}

}  // namespace

fs::path default_cache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string cache = environment(name); !cache.empty()) return cache;
  }
  if (const std::string home = environment("HF_HOME"); !home.empty()) return fs::path(home) / "hub";
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) {
    return fs::path(cache) / "huggingface" / "hub";
  }
  const std::string home = environment("HOME");
  return home.empty() ? fs::path() : fs::path(home) / ".cache" / "huggingface" / "hub";
}

CacheHit find_in_cache(const fs::path& cache, RepoKind kind, const std::string& id,
                       const std::string& revision) {
  CacheHit hit;
  std::error_code error;
  const fs::path repo = cache / (std::string(plural(kind)) + "--" + flat_name(id));
  if (cache.empty() || !fs::is_directory(repo, error)) {
    hit.reason = "it is not there";
    return hit;
  }
  const std::string commit = find_commit(repo, revision.empty() ? "main" : revision, hit);
  if (commit.empty()) return hit;
  const fs::path folder = repo / "snapshots" / commit;
  if (!fs::is_directory(folder, error) || fs::is_empty(folder, error)) {
    hit.reason = "it knows commit " + commit + ", but has no files of it";
    return hit;
  }
  check_snapshot(cache, folder);
  hit.folder = folder;
  hit.commit = commit;
  return hit;
}

}  // namespace hone::hub
