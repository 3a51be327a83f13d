// The local hub: bare git repositories, content-addressed large files and a small database under
// one root, in process.
//   <root>/hub.db
//   <root>/repos/{models,datasets}/<owner>/<name>.git
//   <root>/lfs/ab/cd/<sha256>
//   <root>/snapshots/{models,datasets}--<owner>--<name>/<commit>/
//   <root>/tmp/
// Any number of processes may use one root; writers of a repository take turns by flock.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hub/content.h"
#include "hub/database.h"
#include "hub/git.h"
#include "hub/repo_id.h"

namespace hone::hub {

// A change of one path: the content of a file on disk, a text, or (neither) its removal.
struct Operation {
  std::string path;  // in the repository; a removal may name a folder
  std::optional<std::filesystem::path> source;
  std::optional<std::string> text;

  static Operation add_file(std::string path, std::filesystem::path source);
  static Operation add_text(std::string path, std::string text);
  static Operation remove(std::string path);
};

struct CommitRequest {
  RepoKind kind = RepoKind::kModel;
  std::string repo_id;
  std::string branch = "main";
  std::vector<Operation> operations;
  std::string message;
  Author author;
  // When set, the branch must be at this commit ("" = must have none), else the commit is refused.
  std::optional<std::string> expected_parent;
  Progress progress;
};

struct CommitResult {
  std::string commit;    // the branch's commit now
  bool changed = false;  // false: the content was there already and no commit was made
};

struct FileEntry {
  std::string path;
  uint64_t size = 0;  // of the content, bytes
  std::string blob;   // git's name of the blob (of the pointer, for a large file)
  std::optional<LargePointer> large;
};

struct RepoInfo {
  std::string id;
  bool is_private = true;
  std::string head;  // commit of main, "" when empty
  int64_t updated = 0;
};

class LocalStore {
 public:
  // The folder need not be there: reading finds nothing, writing creates it.
  explicit LocalStore(std::filesystem::path root);
  // HONE_HUB, else $XDG_DATA_HOME/hone/hub, else ~/.local/share/hone/hub.
  static std::filesystem::path default_root();
  // The store behind an endpoint: "" = default_root(), "file:///path" or "/path". Throws
  // kUnavailable for http(s).
  static LocalStore at_endpoint(const std::string& endpoint);

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path repo_path(RepoKind kind, const std::string& id) const;
  bool has_repo(RepoKind kind, const std::string& id) const;
  // Idempotent. Throws kUsage for a bad id.
  void create_repo(RepoKind kind, const std::string& id, bool is_private = true);
  std::vector<RepoInfo> list_repos(RepoKind kind) const;

  // All operations as one commit, or nothing. The repository must exist. Throws kMissingInput,
  // kUsage (bad path), kCannotCreate (the branch is not at expected_parent), kIo.
  CommitResult commit(const CommitRequest& request);
  // An annotated tag, or a branch, at a revision. Throws kCannotCreate when it is there at another
  // commit.
  void create_tag(RepoKind kind, const std::string& id, const std::string& tag,
                  const std::string& revision, const std::string& message,
                  const Author& author = {});
  void create_branch(RepoKind kind, const std::string& id, const std::string& branch,
                     const std::string& revision);

  // The commit a branch, tag, commit id (or unique start of one, 4 characters or more) or whole
  // reference name stands for; "" is "main". Throws kMissingInput for an unknown repository or
  // revision.
  std::string resolve(RepoKind kind, const std::string& id, const std::string& revision) const;
  std::optional<std::string> find_branch(RepoKind kind, const std::string& id,
                                         const std::string& branch) const;
  std::vector<RefInfo> branches(RepoKind kind, const std::string& id) const;
  std::vector<RefInfo> tags(RepoKind kind, const std::string& id) const;
  std::vector<CommitInfo> history(RepoKind kind, const std::string& id, const std::string& revision,
                                  size_t limit = 50) const;
  std::vector<FileEntry> ls(RepoKind kind, const std::string& id,
                            const std::string& revision) const;

  // A folder with all files of a revision, made when it is not there and mended when files are
  // missing or damaged. It shares large files with the store: read it, don't write into it. Throws
  // kBadInput when an object of the store is damaged.
  std::filesystem::path snapshot(RepoKind kind, const std::string& id,
                                 const std::string& revision) const;

  bool add_user(const std::string& name);  // false when it is there already
  std::vector<UserInfo> users() const;

 private:
  GitRepo open(RepoKind kind, const std::string& id) const;
  Database open_database() const;
  ContentStore content() const;

  std::filesystem::path root_;
};

}  // namespace hone::hub
