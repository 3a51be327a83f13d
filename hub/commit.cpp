#include <spdlog/spdlog.h>

#include <system_error>

#include "core/error.h"
#include "core/files.h"
#include "hub/repo_lock.h"
#include "hub/store.h"

namespace hone::hub {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

constexpr const char* kAttributesPath = ".gitattributes";

// An operation whose large content is stored already; `text` is then the pointer.
struct Prepared {
  std::string path;
  std::optional<std::string> text;  // nothing = remove
};

void check_path(const std::string& path) {
  const bool is_git =
      path == ".git" || path.starts_with(".git/") || path.find("/.git/") != std::string::npos;
  if (core::is_safe_relative_path(path) && !is_git) return;
  core::fail(ErrorKind::kUsage, {.what = "not a file name a repository may hold",
                                 .got = "'" + path + "'",
                                 .expected = "a relative path without '..', '\\' or '.git'"});
}

uint64_t size_of(const Operation& operation) {
  if (operation.text) return operation.text->size();
  std::error_code error;
  const uint64_t size = fs::file_size(*operation.source, error);
  if (error) core::fail_errno("can't read", operation.source->string(), error.value());
  return size;
}

Prepared prepare(const Operation& operation, bool large, ContentStore& content,
                 const Progress& progress) {
  if (!operation.source && !operation.text) return {operation.path, {}};
  if (!large) {
    return {operation.path, operation.text ? *operation.text : core::read_file(*operation.source)};
  }
  const LargePointer pointer = operation.text
                                   ? content.put_bytes(*operation.text)
                                   : content.put_file(*operation.source, operation.path, progress);
  return {operation.path, pointer_text(pointer)};
}

// The .gitattributes this commit starts from: its own, else the branch's, else the default.
std::string base_attributes(const GitRepo& repo, const std::optional<std::string>& head,
                            const std::vector<Operation>& operations) {
  for (const Operation& operation : operations) {
    if (operation.path != kAttributesPath) continue;
    if (operation.text) return *operation.text;
    if (operation.source) return core::read_file(*operation.source, 1 << 20);
  }
  if (!head) return default_attributes();
  const auto file = repo.find_file(*head, kAttributesPath);
  return file ? repo.read_blob(file->blob) : default_attributes();
}

void check_parent(const CommitRequest& request, const std::string& head, const fs::path& repo) {
  if (!request.expected_parent || *request.expected_parent == head) return;
  const auto show = [](const std::string& id) {
    return id.empty() ? std::string("no commit yet") : id;
  };
  core::fail(ErrorKind::kCannotCreate,
             {.what = "branch '" + request.branch + "' of '" + request.repo_id + "' has moved on",
              .where = repo.string(),
              .got = show(head),
              .expected = show(*request.expected_parent),
              .hint = "pull the new head, then push again"});
}

}  // namespace

Operation Operation::add_file(std::string path, fs::path source) {
  return {std::move(path), std::move(source), {}};
}
Operation Operation::add_text(std::string path, std::string text) {
  return {std::move(path), {}, std::move(text)};
}
Operation Operation::remove(std::string path) { return {std::move(path), {}, {}}; }

CommitResult LocalStore::commit(const CommitRequest& request) {
  check_branch_or_tag(request.branch);
  for (const Operation& operation : request.operations) check_path(operation.path);
  GitRepo repo = open(request.kind, request.repo_id);
  const fs::path path = repo_path(request.kind, request.repo_id);
  const std::string ref = "refs/heads/" + request.branch;
  check_parent(request, repo.find_ref(ref).value_or(""), path);

  // Large files are stored before the lock is taken: they may take minutes and need no order.
  sweep_temporary(root_ / "tmp");
  ContentStore store = content();
  std::string attributes = base_attributes(repo, repo.find_ref(ref), request.operations);
  std::vector<Prepared> prepared;
  std::vector<std::string> large_paths;
  for (const Operation& operation : request.operations) {
    if (operation.path == kAttributesPath) continue;
    const bool adds = operation.source || operation.text;
    const bool large = adds && is_large(operation.path, size_of(operation), attributes);
    if (large) large_paths.push_back(operation.path);
    prepared.push_back(prepare(operation, large, store, request.progress));
  }

  const RepoLock lock(path / "hone.lock");
  const std::string head = repo.find_ref(ref).value_or("");
  check_parent(request, head, path);
  attributes = base_attributes(repo, repo.find_ref(ref), request.operations);
  for (const std::string& large : large_paths) attributes = with_attribute(attributes, large);
  std::vector<TreeChange> changes;
  for (const Prepared& item : prepared) {
    changes.push_back({item.path, item.text ? repo.write_blob(*item.text) : ""});
  }
  changes.push_back({kAttributesPath, repo.write_blob(attributes)});
  const std::string tree = repo.write_tree(head, changes);
  if (!head.empty() && repo.tree_of(head) == tree) return {head, false};
  const std::string id = repo.write_commit(tree, head, request.author, request.message);
  repo.move_ref(ref, id, head);
  try {
    open_database().log_commit(request.kind, request.repo_id, request.branch, id,
                               request.author.name);
  } catch (const core::Error& error) {
    // The commit has landed: git is the truth, the log only a convenience.
    spdlog::warn("commit {} is in, but not in the hub's log: {}", id, error.what());
  }
  return {id, true};
}

void LocalStore::create_tag(RepoKind kind, const std::string& id, const std::string& tag,
                            const std::string& revision, const std::string& message,
                            const Author& author) {
  check_branch_or_tag(tag);
  GitRepo repo = open(kind, id);
  const std::string commit = resolve(kind, id, revision);
  const RepoLock lock(repo_path(kind, id) / "hone.lock");
  const auto present = repo.find_ref("refs/tags/" + tag);
  if (present == commit) return;
  if (present) {
    core::fail(ErrorKind::kCannotCreate,
               {.what = "tag '" + tag + "' of '" + id + "' exists already",
                .where = root_.string(),
                .got = *present,
                .expected = commit,
                .hint = "choose another tag"});
  }
  repo.create_tag(tag, commit, author, message.empty() ? tag : message);
}

void LocalStore::create_branch(RepoKind kind, const std::string& id, const std::string& branch,
                               const std::string& revision) {
  check_branch_or_tag(branch);
  GitRepo repo = open(kind, id);
  const std::string commit = resolve(kind, id, revision);
  const RepoLock lock(repo_path(kind, id) / "hone.lock");
  if (repo.find_ref("refs/heads/" + branch) == commit) return;
  repo.move_ref("refs/heads/" + branch, commit, "");
}

}  // namespace hone::hub
