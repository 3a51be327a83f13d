#include "hub/push.h"

#include <cstdlib>

#include "core/error.h"
#include "hub/push_http.h"

namespace hone::hub {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

void check_tag_is_free(const LocalStore& store, const std::string& repo_id,
                       const PushOptions& options) {
  if (options.tag.empty()) return;
  check_branch_or_tag(options.tag);
  if (!store.has_repo(options.kind, repo_id)) return;
  const auto head = store.find_branch(options.kind, repo_id, options.branch);
  for (const RefInfo& tag : store.tags(options.kind, repo_id)) {
    if (tag.name != options.tag || tag.commit == head) continue;
    core::fail(ErrorKind::kCannotCreate,
               {.what = "tag '" + options.tag + "' of '" + repo_id + "' exists already",
                .where = store.root().string(),
                .hint = "choose another tag"});
  }
}

std::vector<std::string> paths_of_branch(const LocalStore& store, const std::string& repo_id,
                                         const PushOptions& options) {
  std::vector<std::string> paths;
  const auto head = store.find_branch(options.kind, repo_id, options.branch);
  if (!head) return paths;
  for (FileEntry& entry : store.ls(options.kind, repo_id, *head))
    paths.push_back(std::move(entry.path));
  return paths;
}

bool is_private_repo(const LocalStore& store, RepoKind kind, const std::string& repo_id) {
  for (const RepoInfo& repo : store.list_repos(kind)) {
    if (repo.id == repo_id) return repo.is_private;
  }
  return true;
}

}  // namespace

PushResult push_folder(LocalStore& store, const std::string& repo_id, const fs::path& folder,
                       const PushOptions& options) {
  check_repo_id(repo_id);
  check_branch_or_tag(options.branch);
  if (options.create_pr) {
    core::fail(ErrorKind::kUsage, {.what = "the local store has no pull requests",
                                   .hint = "push to a branch of its own"});
  }
  const FolderToPush selection = check_folder(folder, options.kind, options.also_allow);
  check_tag_is_free(store, repo_id, options);

  store.create_repo(options.kind, repo_id, options.is_private);
  CommitRequest request{
      .kind = options.kind,
      .repo_id = repo_id,
      .branch = options.branch,
      .message = options.message.empty() ? default_message(folder) : options.message,
      .author = options.author,
      .expected_parent = options.expected_parent,
      .progress = options.progress};
  PushResult result{.repo_id = repo_id,
                    .files = selection.files,
                    .skipped = selection.skipped,
                    .place = store.root().string()};
  for (const PushedFile& file : selection.files)
    request.operations.push_back(Operation::add_file(file.path, folder / file.path));
  result.removed = stale_files(paths_of_branch(store, repo_id, options), options.kind, selection);
  for (const std::string& name : result.removed)
    request.operations.push_back(Operation::remove(name));
  const CommitResult commit = store.commit(request);
  result.commit = commit.commit;
  result.changed = commit.changed;
  result.is_public = !is_private_repo(store, options.kind, repo_id);
  if (!options.tag.empty()) {
    store.create_tag(options.kind, repo_id, options.tag, commit.commit, request.message,
                     options.author);
  }
  return result;
}

std::string push_endpoint(const std::string& endpoint) {
  if (!endpoint.empty()) return endpoint;
  const char* value = std::getenv("HF_ENDPOINT");
  return value != nullptr ? value : "";
}

bool is_http_endpoint(const std::string& endpoint) {
  return endpoint.starts_with("http://") || endpoint.starts_with("https://");
}

PushResult publish(const std::string& endpoint, const std::string& repo_id, const fs::path& folder,
                   const PushOptions& options) {
  const std::string place = push_endpoint(endpoint);
  if (is_http_endpoint(place))
    return push_folder(HttpClient(http_config(place)), repo_id, folder, options);
  LocalStore store = LocalStore::at_endpoint(place);
  return push_folder(store, repo_id, folder, options);
}

}  // namespace hone::hub
