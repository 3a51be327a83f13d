// What the store needs of a bare git repository, over libgit2. No user, system or XDG git
// configuration is read, so a commit never depends on who runs it. Object names are 40 lower-case
// hex characters.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

struct git_repository;

namespace hone::hub {

// Starts libgit2 once for the process, without configuration from outside the repository.
void ensure_libgit2();

struct Author {
  std::string name = "hone";
  std::string email = "hone@localhost";
};

struct CommitInfo {
  std::string id;
  std::string title;    // first line of the message
  std::string message;  // the whole message
  Author author;
  int64_t time = 0;  // seconds since 1970-01-01 UTC
  std::vector<std::string> parents;
};

struct RefInfo {
  std::string name;    // without "refs/heads/" or "refs/tags/"; whole for others
  std::string commit;  // tags are followed to their commit
};

struct GitFile {
  std::string path;
  std::string blob;
  uint64_t size = 0;  // of the blob, bytes
};

// A path to set to a blob, or to remove when `blob` is empty. Removing a folder's path removes what
// is in it.
struct TreeChange {
  std::string path;
  std::string blob;
};

class GitRepo {
 public:
  // Creates a bare repository whose HEAD names `branch`, which has no commit yet.
  static void init_bare(const std::filesystem::path& path, const std::string& branch);
  explicit GitRepo(const std::filesystem::path& path);  // throws kBadInput when it is none
  ~GitRepo();
  GitRepo(GitRepo&&) noexcept;

  // The commit a full reference name leads to. Throws kBadInput for a damaged reference.
  std::optional<std::string> find_ref(const std::string& full_name) const;
  // The commit of a whole id or of a prefix of at least 4 characters; throws kUsage if several
  // commits match.
  std::optional<std::string> find_commit(const std::string& prefix) const;
  // References below `prefix`, by name, e.g. "refs/heads/".
  std::vector<RefInfo> list_refs(const std::string& prefix) const;
  std::vector<CommitInfo> log(const std::string& commit, size_t limit) const;  // newest first
  std::vector<GitFile> list_files(const std::string& commit) const;            // by path
  std::optional<GitFile> find_file(const std::string& commit, const std::string& path) const;
  std::string read_blob(const std::string& blob) const;

  std::string write_blob(std::string_view bytes);
  // A tree: that of `base` (a commit, or "" for none) with the changes. Throws kMissingInput for a
  // removed path that is not there.
  std::string write_tree(const std::string& base, const std::vector<TreeChange>& changes);
  std::string tree_of(const std::string& commit) const;
  std::string write_commit(const std::string& tree, const std::string& parent, const Author& author,
                           const std::string& message);
  // Compare and swap: the reference must hold `expected` ("" = must not exist). Throws
  // kCannotCreate otherwise.
  void move_ref(const std::string& full_name, const std::string& commit,
                const std::string& expected);
  void create_tag(const std::string& name, const std::string& commit, const Author& author,
                  const std::string& message);

 private:
  std::filesystem::path path_;
  git_repository* repo_ = nullptr;
};

}  // namespace hone::hub
