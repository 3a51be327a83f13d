#include "hub/verbs.h"

#include <algorithm>
#include <system_error>

#include "core/error.h"
#include "core/files.h"

namespace hone::hub {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

// Regular files below `folder`, links followed, by relative name.
std::vector<PushedFile> files_below(const fs::path& folder) {
  std::vector<PushedFile> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    files.push_back({entry.path().lexically_relative(folder).string(), entry.file_size()});
  }
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

std::vector<PushedFile> files_of(const ResolvedRepo& repo) {
  if (repo.files.empty()) return files_below(repo.folder);
  std::vector<PushedFile> files;
  for (const std::string& path : repo.files) {
    files.push_back({path, fs::file_size(repo.folder / path)});
  }
  return files;
}

ResolvedRepo find_repo(const IdAndRevision& wanted, RepoKind kind, const ResolveOptions& options,
                       PullFrom from) {
  std::error_code error;
  const LocalStore store(options.store ? *options.store : LocalStore::default_root());
  const bool is_near = fs::is_directory(wanted.id, error) || store.has_repo(kind, wanted.id);
  const bool asks = options.connect != nullptr && (from == PullFrom::kEndpoint || !is_near);
  if (asks) return resolve_at_endpoint(kind, wanted.id, wanted.revision, options);
  return kind == RepoKind::kModel ? resolve_model(wanted.id, wanted.revision, options)
                                  : resolve_dataset(wanted.id, wanted.revision, options);
}

void check_output(const fs::path& output) {
  std::error_code error;
  if (!fs::exists(output, error) ||
      (fs::is_directory(output, error) && fs::is_empty(output, error)))
    return;
  core::fail(ErrorKind::kCannotCreate,
             {.what = "the output is there already and is not an empty folder",
              .where = output.string(),
              .hint = "choose another folder, or remove it"});
}

// All files or none: they are copied beside the target, then moved there in one step.
void copy_files(const fs::path& from, const std::vector<PushedFile>& files, const fs::path& to) {
  const fs::path target = fs::absolute(to).lexically_normal();
  const fs::path parent =
      target.has_filename() ? target.parent_path() : target.parent_path().parent_path();
  core::make_folders(parent);
  const fs::path temporary = unique_name(parent);
  try {
    core::make_folders(temporary);
    for (const PushedFile& file : files) {
      core::make_folders((temporary / file.path).parent_path());
      core::copy_file_durable(from / file.path, temporary / file.path);
    }
    core::rename_durable(temporary, target.has_filename() ? target : target.parent_path());
  } catch (...) {
    std::error_code error;
    fs::remove_all(temporary, error);
    throw;
  }
}

std::vector<std::string> names_at(const std::vector<RefInfo>& refs, const std::string& commit) {
  std::vector<std::string> names;
  for (const RefInfo& ref : refs) {
    if (ref.commit == commit) names.push_back(ref.name);
  }
  return names;
}

}  // namespace

PullResult pull(const std::string& id_and_revision, const fs::path& output, RepoKind kind,
                const ResolveOptions& options, PullFrom from) {
  const IdAndRevision wanted = split_revision(id_and_revision);
  if (!output.empty()) check_output(output);
  const ResolvedRepo repo = find_repo(wanted, kind, options, from);
  PullResult result{repo.folder, repo.origin, repo.commit, files_of(repo), repo.downloaded_bytes};
  if (output.empty()) return result;
  copy_files(repo.folder, result.files, output);
  result.folder = output;
  return result;
}

HubListing list_hub(const LocalStore& store, const std::string& id_and_revision, RepoKind kind) {
  if (id_and_revision.empty()) {
    return {.models = store.list_repos(RepoKind::kModel),
            .datasets = store.list_repos(RepoKind::kDataset)};
  }
  const IdAndRevision wanted = split_revision(id_and_revision);
  const std::string commit = store.resolve(kind, wanted.id, wanted.revision);
  return {.files = store.ls(kind, wanted.id, commit), .commit = commit};
}

std::vector<HistoryEntry> list_history(const LocalStore& store, const std::string& id_and_revision,
                                       size_t limit, RepoKind kind) {
  const IdAndRevision wanted = split_revision(id_and_revision);
  const auto branches = store.branches(kind, wanted.id);
  const auto tags = store.tags(kind, wanted.id);
  std::vector<HistoryEntry> entries;
  for (CommitInfo& commit : store.history(kind, wanted.id, wanted.revision, limit)) {
    HistoryEntry entry{.branches = names_at(branches, commit.id),
                       .tags = names_at(tags, commit.id)};
    entry.commit = std::move(commit);
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace hone::hub
