#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "hub/store.h"

namespace hone::hub {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

// Where an entry is put, or a refusal: a tree may have been written by any git program.
fs::path place_of(const fs::path& folder, const FileEntry& entry) {
  if (!core::is_safe_relative_path(entry.path)) {
    core::fail(ErrorKind::kBadInput, {.what = "the repository holds an unsafe file name",
                                      .where = folder.string(),
                                      .got = "'" + entry.path + "'"});
  }
  return folder / entry.path;
}

void check_object(const ContentStore& content, const FileEntry& entry) {
  if (content.has(*entry.large)) return;
  const fs::path object = content.path_of(*entry.large);
  std::error_code error;
  const uint64_t size = fs::file_size(object, error);
  core::fail(ErrorKind::kBadInput,
             {.what = "the content of '" + entry.path + "' is damaged in the hub",
              .where = object.string(),
              .got = error ? "no file" : std::to_string(size) + " bytes",
              .expected = std::to_string(entry.large->size) + " bytes",
              .hint = "push the same file again to mend it"});
}

// Small files are compared by content, large ones by size: hashing gigabytes at each start would
// cost minutes.
bool is_whole(const fs::path& path, const FileEntry& entry) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  if (static_cast<uint64_t>(status.st_size) != entry.size) return false;
  return entry.large || core::git_blob_sha1(core::read_file(path)) == entry.blob;
}

// Puts the object at `path` by hard link where the file system can, else by copy.
void link_object(const fs::path& object, const fs::path& path) {
  const fs::path temporary = unique_name(path.parent_path());
  if (::link(object.c_str(), temporary.c_str()) != 0) {
    core::copy_file_durable(object, path);
    return;
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    core::fail_errno("can't create", path.string(), error);
  }
  // rename(2) leaves both names when they are links to one file already.
  ::unlink(temporary.c_str());
}

void materialise(const GitRepo& repo, const ContentStore& content, const FileEntry& entry,
                 const fs::path& path) {
  core::make_folders(path.parent_path());
  std::error_code error;
  if (fs::is_directory(fs::symlink_status(path, error))) core::remove_tree(path);
  if (!entry.large) return core::write_file_atomic(path, repo.read_blob(entry.blob));
  check_object(content, entry);
  link_object(content.path_of(*entry.large), path);
}

// Removes a half-made folder unless it was renamed away.
struct TemporaryFolder {
  fs::path path;
  ~TemporaryFolder() {
    std::error_code error;
    fs::remove_all(path, error);
  }
};

}  // namespace

fs::path LocalStore::snapshot(RepoKind kind, const std::string& id,
                              const std::string& revision) const {
  const std::string commit = resolve(kind, id, revision);
  const GitRepo repo = open(kind, id);
  const ContentStore store = content();
  const auto entries = ls(kind, id, commit);
  fs::path folder =
      root_ / "snapshots" / (std::string(plural(kind)) + "--" + flat_name(id)) / commit;
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    const TemporaryFolder temporary{unique_name(root_ / "tmp")};
    core::make_folders(temporary.path);
    for (const FileEntry& entry : entries) {
      materialise(repo, store, entry, place_of(temporary.path, entry));
    }
    core::make_folders(folder.parent_path());
    // Losing the race to another process is fine: the check below covers its folder too.
    fs::rename(temporary.path, folder, error);
    if (error && !fs::is_directory(folder)) {
      core::fail_errno("can't create", folder.string(), error.value());
    }
  }
  for (const FileEntry& entry : entries) {
    const fs::path path = place_of(folder, entry);
    if (!is_whole(path, entry)) materialise(repo, store, entry, path);
  }
  return folder;
}

}  // namespace hone::hub
