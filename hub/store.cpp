#include "hub/store.h"

#include <algorithm>
#include <cstdlib>
#include <system_error>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"

namespace hone::hub {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::vector<std::string> names_of(const std::vector<RefInfo>& refs) {
  std::vector<std::string> names;
  for (const RefInfo& ref : refs) names.push_back(ref.name);
  return names;
}

// Lets git-lfs of a plain `git clone` of the repository find the shared large files.
void link_large_files(const fs::path& repo) {
  std::error_code error;
  fs::create_directories(repo / "lfs", error);
  fs::create_directory_symlink("../../../../../lfs", repo / "lfs" / "objects", error);
}

}  // namespace

LocalStore::LocalStore(fs::path root) : root_(std::move(root)) {}

fs::path LocalStore::default_root() {
  if (const std::string root = environment("HONE_HUB"); !root.empty()) return root;
  if (const std::string data = environment("XDG_DATA_HOME"); !data.empty()) {
    return fs::path(data) / "hone" / "hub";
  }
  const std::string home = environment("HOME");
  if (home.empty()) {
    core::fail(ErrorKind::kMissingInput, {.what = "can't tell where the local hub is",
                                          .hint = "set HONE_HUB to a folder (HOME is not set)"});
  }
  return fs::path(home) / ".local" / "share" / "hone" / "hub";
}

LocalStore LocalStore::at_endpoint(const std::string& endpoint) {
  if (endpoint.empty()) return LocalStore(default_root());
  constexpr std::string_view kFileScheme = "file://";
  const std::string path =
      endpoint.starts_with(kFileScheme) ? endpoint.substr(kFileScheme.size()) : endpoint;
  if (path.starts_with('/')) return LocalStore(path);
  const bool is_http = endpoint.starts_with("http://") || endpoint.starts_with("https://");
  core::fail(is_http ? ErrorKind::kUnavailable : ErrorKind::kUsage,
             {.what = is_http ? "only a local store can be used here" : "not a hub endpoint",
              .got = endpoint,
              .expected = "file:///path or /path",
              .hint = "leave the endpoint out for the local hub"});
}

fs::path LocalStore::repo_path(RepoKind kind, const std::string& id) const {
  check_repo_id(id);
  return root_ / "repos" / plural(kind) / (id + ".git");
}

bool LocalStore::has_repo(RepoKind kind, const std::string& id) const {
  std::error_code error;
  return fs::is_directory(repo_path(kind, id), error);
}

void LocalStore::create_repo(RepoKind kind, const std::string& id, bool is_private) {
  const fs::path path = repo_path(kind, id);
  if (!has_repo(kind, id)) {
    core::make_folders(path.parent_path());
    core::make_folders(root_ / "tmp");
    core::make_folders(root_ / "lfs");
    const fs::path temporary = unique_name(root_ / "tmp");
    GitRepo::init_bare(temporary, "main");
    link_large_files(temporary);
    std::error_code error;
    fs::rename(temporary, path, error);
    if (error) {
      core::remove_tree(temporary);
      if (!has_repo(kind, id)) core::fail_errno("can't create", path.string(), error.value());
    }
  }
  open_database().add_repo(kind, id, is_private);
}

std::vector<RepoInfo> LocalStore::list_repos(RepoKind kind) const {
  std::vector<RepoInfo> repos;
  std::error_code error;
  const fs::path folder = root_ / "repos" / plural(kind);
  for (const auto& owner : fs::directory_iterator(folder, error)) {
    for (const auto& repo : fs::directory_iterator(owner.path(), error)) {
      if (repo.path().extension() != ".git") continue;
      RepoInfo info{.id = owner.path().filename().string() + "/" + repo.path().stem().string()};
      if (!repo_id_problem(info.id, true).empty()) continue;
      if (const auto head = find_branch(kind, info.id, "main")) {
        info.head = *head;
        info.updated = GitRepo(repo.path()).log(*head, 1).at(0).time;
      }
      repos.push_back(std::move(info));
    }
  }
  if (repos.empty()) return repos;
  const Database database = open_database();
  for (RepoInfo& info : repos) info.is_private = database.is_private(kind, info.id);
  std::sort(repos.begin(), repos.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return repos;
}

GitRepo LocalStore::open(RepoKind kind, const std::string& id) const {
  const fs::path path = repo_path(kind, id);
  if (!has_repo(kind, id)) {
    core::fail(ErrorKind::kMissingInput, {.what = "no repository '" + id + "' in the local hub",
                                          .where = root_.string(),
                                          .hint = "hone hub ls shows what is there"});
  }
  return GitRepo(path);
}

Database LocalStore::open_database() const {
  core::make_folders(root_);
  return Database(root_ / "hub.db");
}

ContentStore LocalStore::content() const { return ContentStore(root_ / "lfs", root_ / "tmp"); }

std::string LocalStore::resolve(RepoKind kind, const std::string& id,
                                const std::string& revision) const {
  const GitRepo repo = open(kind, id);
  const std::string wanted = revision.empty() ? "main" : revision;
  if (wanted.starts_with("refs/")) {
    if (const auto commit = repo.find_ref(wanted)) return *commit;
  } else {
    for (const std::string folder : {"refs/heads/", "refs/tags/"}) {
      if (const auto commit = repo.find_ref(folder + wanted)) return *commit;
    }
    if (const auto commit = repo.find_commit(wanted)) return *commit;
  }
  const auto branch_names = names_of(repo.list_refs("refs/heads/"));
  const auto tag_names = names_of(repo.list_refs("refs/tags/"));
  core::fail(
      ErrorKind::kMissingInput,
      {.what = branch_names.empty() ? "repository '" + id + "' is empty"
                                    : "repository '" + id + "' has no revision '" + wanted + "'",
       .where = root_.string(),
       .expected = "a commit id, a branch (" + core::join(branch_names, ", ") + ") or a tag (" +
                   core::join(tag_names, ", ") + ")"});
}

std::optional<std::string> LocalStore::find_branch(RepoKind kind, const std::string& id,
                                                   const std::string& branch) const {
  return open(kind, id).find_ref("refs/heads/" + branch);
}

std::vector<RefInfo> LocalStore::branches(RepoKind kind, const std::string& id) const {
  return open(kind, id).list_refs("refs/heads/");
}

std::vector<RefInfo> LocalStore::tags(RepoKind kind, const std::string& id) const {
  return open(kind, id).list_refs("refs/tags/");
}

std::vector<CommitInfo> LocalStore::history(RepoKind kind, const std::string& id,
                                            const std::string& revision, size_t limit) const {
  return open(kind, id).log(resolve(kind, id, revision), limit);
}

std::vector<FileEntry> LocalStore::ls(RepoKind kind, const std::string& id,
                                      const std::string& revision) const {
  const GitRepo repo = open(kind, id);
  std::vector<FileEntry> entries;
  for (const GitFile& file : repo.list_files(resolve(kind, id, revision))) {
    FileEntry entry{file.path, file.size, file.blob, {}};
    if (file.size <= kMaxPointerBytes) entry.large = parse_pointer(repo.read_blob(file.blob));
    if (entry.large) entry.size = entry.large->size;
    entries.push_back(std::move(entry));
  }
  return entries;
}

bool LocalStore::add_user(const std::string& name) {
  check_repo_id(name + "/x");
  return open_database().add_user(name);
}

std::vector<UserInfo> LocalStore::users() const {
  std::error_code error;
  if (!fs::exists(root_ / "hub.db", error)) return {};
  return open_database().users();
}

}  // namespace hone::hub
