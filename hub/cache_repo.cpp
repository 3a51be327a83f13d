#include "hub/cache_repo.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "core/error.h"
#include "core/files.h"
#include "hub/content.h"

namespace hone::hub {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

constexpr uint64_t kMaxTreeBytes = 1 << 28;
// The first line is the mark of the standard: https://bford.info/cachedir/
constexpr std::string_view kCacheTag =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This folder is a cache: backups may leave it out.\n";

// Like make_folders, but what is made is for this user alone.
void make_private_folders(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return;
  if (path.has_parent_path() && path.parent_path() != path)
    make_private_folders(path.parent_path());
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    core::fail_errno("can't make the folder", path.string(), errno);
  }
}

void check_owner(const fs::path& cache) {
  struct stat status {};
  if (::stat(cache.c_str(), &status) != 0) {
    core::fail_errno("can't look at the cache", cache.string(), errno);
  }
  const bool is_open = (status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0;
  if (!is_open) return;
  core::fail(ErrorKind::kNoPermission,
             {.what = "anybody may write into the cache: nothing is downloaded into it",
              .where = cache.string(),
              .hint = "chmod o-w, or choose another folder with HF_HUB_CACHE"});
}

bool links_are_off() {
  const char* value = std::getenv("HF_HUB_DISABLE_SYMLINKS");
  return value != nullptr && *value != '\0' && std::string_view(value) != "0";
}

fs::path up(size_t folders) {
  fs::path path;
  for (size_t i = 0; i < folders; ++i) path /= "..";
  return path;
}

void place(const fs::path& temporary, const fs::path& path) {
  if (::rename(temporary.c_str(), path.c_str()) == 0) return;
  const int error = errno;
  ::unlink(temporary.c_str());
  core::fail_errno("can't put in place", path.string(), error);
}

}  // namespace

CacheRepo::CacheRepo(fs::path cache, RepoKind kind, const std::string& id)
    : cache_(std::move(cache)) {
  const std::string name = std::string(plural(kind)) + "--" + flat_name(id);
  folder_ = cache_ / name;
  locks_ = cache_ / ".locks" / name;
}

fs::path CacheRepo::snapshot(const std::string& commit) const {
  return folder_ / "snapshots" / commit;
}
fs::path CacheRepo::blob(const std::string& etag) const { return folder_ / "blobs" / etag; }
fs::path CacheRepo::partial(const std::string& etag) const {
  return folder_ / "blobs" / (etag + ".hone.incomplete");
}
fs::path CacheRepo::lock(const std::string& etag) const { return locks_ / (etag + ".lock"); }

void CacheRepo::create() const {
  make_private_folders(cache_);
  check_owner(cache_);
  for (const fs::path& path :
       {folder_ / "blobs", folder_ / "refs", folder_ / "snapshots", locks_}) {
    core::make_folders(path);
  }
  std::error_code error;
  const fs::path tag = cache_ / "CACHEDIR.TAG";
  if (!fs::exists(tag, error)) core::write_file_atomic(tag, kCacheTag);
}

bool CacheRepo::has_file(const std::string& commit, const RemoteFile& file) const {
  std::error_code error;
  const fs::path path = snapshot(commit) / file.path;
  return fs::is_regular_file(path, error) && fs::file_size(path, error) == file.size && !error;
}

void CacheRepo::link_file(const std::string& commit, const RemoteFile& file) const {
  const fs::path path = snapshot(commit) / file.path;
  core::make_folders(path.parent_path());
  // From snapshots/<commit>/a/b up to the repository: as many steps as folders above the file.
  const auto depth = static_cast<size_t>(std::count(file.path.begin(), file.path.end(), '/'));
  const fs::path target = up(depth + 2) / "blobs" / file.etag();
  const fs::path temporary = unique_name(path.parent_path());
  if (!links_are_off() && ::symlink(target.c_str(), temporary.c_str()) == 0) {
    place(temporary, path);
    return;
  }
  std::error_code error;
  fs::create_hard_link(fs::canonical(blob(file.etag())), temporary, error);
  if (error) core::copy_file_durable(blob(file.etag()), temporary);
  place(temporary, path);
}

void CacheRepo::write_ref(const std::string& revision, const std::string& commit) const {
  if (is_commit_id(revision) || !core::is_safe_relative_path(revision)) return;
  const fs::path path = folder_ / "refs" / revision;
  std::error_code error;
  if (fs::is_regular_file(path, error) && core::read_file(path) == commit) return;
  core::make_folders(path.parent_path());
  core::write_file_atomic(path, commit);
}

void CacheRepo::mark_missing(const std::string& commit, const std::string& path) const {
  const fs::path mark = folder_ / ".no_exist" / commit / path;
  std::error_code error;
  if (fs::exists(mark, error)) return;
  core::make_folders(mark.parent_path());
  const int descriptor = ::open(mark.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor >= 0) ::close(descriptor);  // a mark that can't be made only costs a question
}

void CacheRepo::write_tree(const RepoTree& tree) const {
  core::make_folders(folder_ / "trees");
  core::write_file_atomic(folder_ / "trees" / (tree.commit + ".json"), tree_json(tree));
}

std::optional<RepoTree> CacheRepo::read_tree(const std::string& commit) const {
  const fs::path path = folder_ / "trees" / (commit + ".json");
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  auto tree = parse_tree_json(core::read_file(path, kMaxTreeBytes), commit);
  if (!tree) spdlog::warn("{} can't be used: listing the repository again", path.string());
  return tree;
}

}  // namespace hone::hub
