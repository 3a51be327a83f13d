
#include <algorithm>

#include "hub/git.h"
#include "hub/git_handle.h"

namespace hone::hub {
namespace {

using core::ErrorKind;

constexpr size_t kShortestPrefix = 4;

CommitHandle load_commit(git_repository* repo, const std::string& id, const std::string& where) {
  const git_oid oid = to_oid(id, where);
  git_commit* commit = nullptr;
  check_git(git_commit_lookup(&commit, repo, &oid), "can't read commit " + id, where,
            ErrorKind::kBadInput);
  return CommitHandle(commit);
}

TreeHandle load_tree(git_repository* repo, const std::string& commit, const std::string& where) {
  const CommitHandle handle = load_commit(repo, commit, where);
  git_tree* tree = nullptr;
  check_git(git_commit_tree(&tree, handle.get()), "can't read the tree of " + commit, where,
            ErrorKind::kBadInput);
  return TreeHandle(tree);
}

uint64_t blob_size(git_odb* odb, const git_oid* oid, const std::string& where) {
  size_t size = 0;
  git_object_t type = GIT_OBJECT_INVALID;
  check_git(git_odb_read_header(&size, &type, odb, oid), "can't read object " + to_hex(*oid), where,
            ErrorKind::kBadInput);
  return size;
}

struct Listing {
  git_odb* odb;
  std::string where;
  std::vector<GitFile> files;
  std::exception_ptr error;
};

// Exceptions must not pass through libgit2's C frames, so they wait in the listing.
int add_to_listing(const char* folder, const git_tree_entry* entry, void* payload) {
  auto& listing = *static_cast<Listing*>(payload);
  if (git_tree_entry_type(entry) != GIT_OBJECT_BLOB) return 0;
  try {
    const git_oid* oid = git_tree_entry_id(entry);
    listing.files.push_back({std::string(folder) + git_tree_entry_name(entry), to_hex(*oid),
                             blob_size(listing.odb, oid, listing.where)});
    return 0;
  } catch (...) {
    listing.error = std::current_exception();
    return -1;
  }
}

std::string short_ref_name(const std::string& full_name) {
  for (const std::string prefix : {"refs/heads/", "refs/tags/"}) {
    if (full_name.starts_with(prefix)) return full_name.substr(prefix.size());
  }
  return full_name;
}

CommitInfo describe(const git_commit* commit) {
  const git_signature* author = git_commit_author(commit);
  CommitInfo info{.id = to_hex(*git_commit_id(commit)),
                  .message = git_commit_message(commit),
                  .author = {author->name, author->email},
                  .time = git_commit_time(commit)};
  info.title = info.message.substr(0, info.message.find('\n'));
  for (unsigned i = 0; i < git_commit_parentcount(commit); ++i) {
    info.parents.push_back(to_hex(*git_commit_parent_id(commit, i)));
  }
  return info;
}

OdbHandle open_odb(git_repository* repo, const std::string& where) {
  git_odb* odb = nullptr;
  check_git(git_repository_odb(&odb, repo), "can't open the objects", where, ErrorKind::kBadInput);
  return OdbHandle(odb);
}

}  // namespace

std::optional<std::string> GitRepo::find_ref(const std::string& full_name) const {
  git_reference* reference = nullptr;
  const int code = git_reference_lookup(&reference, repo_, full_name.c_str());
  if (code == GIT_ENOTFOUND || code == GIT_EINVALIDSPEC) return {};
  check_git(code, "damaged reference '" + full_name + "'", path_.string(), ErrorKind::kBadInput);
  const ReferenceHandle handle(reference);
  git_object* object = nullptr;
  check_git(git_reference_peel(&object, reference, GIT_OBJECT_COMMIT),
            "reference '" + full_name + "' leads to no commit", path_.string(),
            ErrorKind::kBadInput);
  const ObjectHandle commit(object);
  return to_hex(*git_object_id(object));
}

std::optional<std::string> GitRepo::find_commit(const std::string& prefix) const {
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (prefix.size() < kShortestPrefix || prefix.size() > GIT_OID_HEXSZ ||
      !std::all_of(prefix.begin(), prefix.end(), is_hex)) {
    return {};
  }
  git_oid oid;
  check_git(git_oid_fromstrn(&oid, prefix.data(), prefix.size()), "bad commit id", path_.string());
  git_commit* commit = nullptr;
  const int code = git_commit_lookup_prefix(&commit, repo_, &oid, prefix.size());
  if (code == GIT_EAMBIGUOUS) {
    core::fail(ErrorKind::kUsage, {.what = "several objects start with '" + prefix + "'",
                                   .where = path_.string(),
                                   .hint = "write more characters of the commit id"});
  }
  if (code == GIT_ENOTFOUND) return {};
  check_git(code, "can't read commit " + prefix, path_.string(), ErrorKind::kBadInput);
  const CommitHandle handle(commit);
  return to_hex(*git_commit_id(commit));
}

std::vector<RefInfo> GitRepo::list_refs(const std::string& prefix) const {
  git_reference_iterator* iterator = nullptr;
  check_git(git_reference_iterator_new(&iterator, repo_), "can't list references", path_.string());
  const RefIteratorHandle handle(iterator);
  std::vector<RefInfo> refs;
  const char* name = nullptr;
  int code = 0;
  while ((code = git_reference_next_name(&name, iterator)) == 0) {
    const std::string full_name(name);
    if (!full_name.starts_with(prefix)) continue;
    if (const auto commit = find_ref(full_name))
      refs.push_back({short_ref_name(full_name), *commit});
  }
  if (code != GIT_ITEROVER) check_git(code, "can't list references", path_.string());
  std::sort(refs.begin(), refs.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return refs;
}

std::vector<CommitInfo> GitRepo::log(const std::string& commit, size_t limit) const {
  git_revwalk* walk = nullptr;
  check_git(git_revwalk_new(&walk, repo_), "can't walk the history", path_.string());
  const WalkHandle handle(walk);
  git_revwalk_sorting(walk, GIT_SORT_TOPOLOGICAL | GIT_SORT_TIME);
  const git_oid start = to_oid(commit, path_.string());
  check_git(git_revwalk_push(walk, &start), "can't walk the history", path_.string());
  std::vector<CommitInfo> commits;
  git_oid oid;
  while (commits.size() < limit && git_revwalk_next(&oid, walk) == 0) {
    commits.push_back(describe(load_commit(repo_, to_hex(oid), path_.string()).get()));
  }
  return commits;
}

std::vector<GitFile> GitRepo::list_files(const std::string& commit) const {
  const TreeHandle tree = load_tree(repo_, commit, path_.string());
  const OdbHandle odb = open_odb(repo_, path_.string());
  Listing listing{odb.get(), path_.string(), {}, nullptr};
  const int code = git_tree_walk(tree.get(), GIT_TREEWALK_PRE, add_to_listing, &listing);
  if (listing.error) std::rethrow_exception(listing.error);
  check_git(code, "can't list the files of " + commit, path_.string(), ErrorKind::kBadInput);
  std::sort(listing.files.begin(), listing.files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return std::move(listing.files);
}

std::optional<GitFile> GitRepo::find_file(const std::string& commit,
                                          const std::string& path) const {
  const TreeHandle tree = load_tree(repo_, commit, path_.string());
  git_tree_entry* entry = nullptr;
  const int code = git_tree_entry_bypath(&entry, tree.get(), path.c_str());
  if (code == GIT_ENOTFOUND) return {};
  check_git(code, "can't look up '" + path + "'", path_.string(), ErrorKind::kBadInput);
  const GitHandle<git_tree_entry, git_tree_entry_free> handle(entry);
  if (git_tree_entry_type(entry) != GIT_OBJECT_BLOB) return {};
  const OdbHandle odb = open_odb(repo_, path_.string());
  const git_oid* oid = git_tree_entry_id(entry);
  return GitFile{path, to_hex(*oid), blob_size(odb.get(), oid, path_.string())};
}

std::string GitRepo::read_blob(const std::string& blob) const {
  const git_oid oid = to_oid(blob, path_.string());
  git_blob* object = nullptr;
  check_git(git_blob_lookup(&object, repo_, &oid), "can't read object " + blob, path_.string(),
            ErrorKind::kBadInput);
  const BlobHandle handle(object);
  return std::string(static_cast<const char*>(git_blob_rawcontent(object)),
                     static_cast<size_t>(git_blob_rawsize(object)));
}

std::string GitRepo::tree_of(const std::string& commit) const {
  return to_hex(*git_commit_tree_id(load_commit(repo_, commit, path_.string()).get()));
}

}  // namespace hone::hub
