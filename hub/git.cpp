#include "hub/git.h"

#include <utility>

#include "hub/git_handle.h"

namespace hone::hub {
namespace {

using core::ErrorKind;

struct Library {
  Library() {
    git_libgit2_init();
    for (const int level : {GIT_CONFIG_LEVEL_PROGRAMDATA, GIT_CONFIG_LEVEL_SYSTEM,
                            GIT_CONFIG_LEVEL_XDG, GIT_CONFIG_LEVEL_GLOBAL}) {
      git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, level, "");
    }
    git_libgit2_opts(GIT_OPT_SET_TEMPLATE_PATH, "");
    git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 1);
    // A store may be shared through a group or a container mount; libgit2 runs no hooks or programs
    // of a repository.
    git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
  }
};

SignatureHandle sign(const Author& author, const std::string& where) {
  git_signature* signature = nullptr;
  check_git(git_signature_now(&signature, author.name.c_str(), author.email.c_str()),
            "can't use '" + author.name + " <" + author.email + ">' as an author", where,
            ErrorKind::kUsage);
  return SignatureHandle(signature);
}

// One blank-line-normalised message ending in a newline, as git itself would store it.
std::string tidy_message(const std::string& message, const std::string& where) {
  git_buf buffer = GIT_BUF_INIT;
  check_git(git_message_prettify(&buffer, message.c_str(), 0, '#'), "bad message", where);
  std::string tidy(buffer.ptr, buffer.size);
  git_buf_dispose(&buffer);
  if (tidy.empty())
    core::fail(ErrorKind::kUsage, {.what = "the commit message is empty", .where = where});
  return tidy;
}

CommitHandle look_up_commit(git_repository* repo, const std::string& id, const std::string& where) {
  const git_oid oid = to_oid(id, where);
  git_commit* commit = nullptr;
  check_git(git_commit_lookup(&commit, repo, &oid), "can't read commit " + id, where,
            ErrorKind::kBadInput);
  return CommitHandle(commit);
}

void remove_from(git_index* index, const std::string& path, const std::string& where) {
  if (git_index_get_bypath(index, path.c_str(), 0) != nullptr) {
    check_git(git_index_remove(index, path.c_str(), 0), "can't remove '" + path + "'", where);
    return;
  }
  const size_t before = git_index_entrycount(index);
  git_index_remove_directory(index, path.c_str(), 0);
  if (git_index_entrycount(index) == before) {
    core::fail(ErrorKind::kMissingInput,
               {.what = "can't delete '" + path + "': it is not there", .where = where});
  }
}

}  // namespace

void ensure_libgit2() { static const Library library; }

void GitRepo::init_bare(const std::filesystem::path& path, const std::string& branch) {
  ensure_libgit2();
  git_repository_init_options options = GIT_REPOSITORY_INIT_OPTIONS_INIT;
  options.flags =
      GIT_REPOSITORY_INIT_BARE | GIT_REPOSITORY_INIT_MKPATH | GIT_REPOSITORY_INIT_NO_REINIT;
  options.initial_head = branch.c_str();
  git_repository* repo = nullptr;
  check_git(git_repository_init_ext(&repo, path.c_str(), &options), "can't create the repository",
            path.string(), ErrorKind::kCannotCreate);
  git_repository_free(repo);
}

GitRepo::GitRepo(const std::filesystem::path& path) : path_(path) {
  ensure_libgit2();
  check_git(git_repository_open_bare(&repo_, path.c_str()), "not a git repository", path.string(),
            ErrorKind::kBadInput);
}

GitRepo::GitRepo(GitRepo&& other) noexcept
    : path_(std::move(other.path_)), repo_(std::exchange(other.repo_, nullptr)) {}

GitRepo::~GitRepo() { git_repository_free(repo_); }

std::string GitRepo::write_blob(std::string_view bytes) {
  git_oid oid;
  check_git(git_blob_create_from_buffer(&oid, repo_, bytes.data(), bytes.size()),
            "can't write an object", path_.string());
  return to_hex(oid);
}

std::string GitRepo::write_tree(const std::string& base, const std::vector<TreeChange>& changes) {
  git_index* index = nullptr;
  check_git(git_index_new(&index), "can't build a tree", path_.string());
  const IndexHandle handle(index);
  if (!base.empty()) {
    git_tree* tree = nullptr;
    check_git(git_commit_tree(&tree, look_up_commit(repo_, base, path_.string()).get()),
              "can't read the tree of " + base, path_.string());
    const TreeHandle tree_handle(tree);
    check_git(git_index_read_tree(index, tree), "can't read the tree of " + base, path_.string());
  }
  for (const TreeChange& change : changes) {
    if (change.blob.empty()) {
      remove_from(index, change.path, path_.string());
      continue;
    }
    git_index_entry entry{};
    entry.path = change.path.c_str();
    entry.mode = GIT_FILEMODE_BLOB;
    entry.id = to_oid(change.blob, path_.string());
    check_git(git_index_add(index, &entry), "can't add '" + change.path + "'", path_.string(),
              ErrorKind::kUsage);
  }
  git_oid oid;
  check_git(git_index_write_tree_to(&oid, index, repo_), "can't write the tree", path_.string());
  return to_hex(oid);
}

std::string GitRepo::write_commit(const std::string& tree, const std::string& parent,
                                  const Author& author, const std::string& message) {
  const SignatureHandle signature = sign(author, path_.string());
  const git_oid tree_oid = to_oid(tree, path_.string());
  git_tree* tree_object = nullptr;
  check_git(git_tree_lookup(&tree_object, repo_, &tree_oid), "can't read the tree", path_.string());
  const TreeHandle tree_handle(tree_object);
  const CommitHandle parent_handle =
      parent.empty() ? nullptr : look_up_commit(repo_, parent, path_.string());
  const git_commit* parents[] = {parent_handle.get()};
  git_oid oid;
  check_git(git_commit_create(&oid, repo_, nullptr, signature.get(), signature.get(), "UTF-8",
                              tidy_message(message, path_.string()).c_str(), tree_object,
                              parent.empty() ? 0 : 1, parents),
            "can't write the commit", path_.string());
  return to_hex(oid);
}

void GitRepo::move_ref(const std::string& full_name, const std::string& commit,
                       const std::string& expected) {
  const git_oid target = to_oid(commit, path_.string());
  git_reference* reference = nullptr;
  int code = 0;
  if (expected.empty()) {
    code = git_reference_create(&reference, repo_, full_name.c_str(), &target, 0, "commit");
  } else {
    const git_oid current = to_oid(expected, path_.string());
    code = git_reference_create_matching(&reference, repo_, full_name.c_str(), &target, 1, &current,
                                         "commit");
  }
  const ReferenceHandle handle(reference);
  if (code == GIT_EMODIFIED || code == GIT_EEXISTS) {
    core::fail(ErrorKind::kCannotCreate, {.what = "'" + full_name + "' was moved by another writer",
                                          .where = path_.string(),
                                          .expected = expected.empty() ? "no commit yet" : expected,
                                          .hint = "try again"});
  }
  if (code == GIT_ELOCKED) {
    core::fail(ErrorKind::kCannotCreate,
               {.what = "'" + full_name + "' is locked by another git program",
                .where = path_.string(),
                .hint = "if none runs, remove " + (path_ / (full_name + ".lock")).string()});
  }
  check_git(code, "can't move '" + full_name + "'", path_.string());
}

void GitRepo::create_tag(const std::string& name, const std::string& commit, const Author& author,
                         const std::string& message) {
  const SignatureHandle signature = sign(author, path_.string());
  const CommitHandle target = look_up_commit(repo_, commit, path_.string());
  git_oid oid;
  const int code =
      git_tag_create(&oid, repo_, name.c_str(), reinterpret_cast<git_object*>(target.get()),
                     signature.get(), tidy_message(message, path_.string()).c_str(), 0);
  if (code == GIT_EEXISTS) {
    core::fail(ErrorKind::kCannotCreate,
               {.what = "tag '" + name + "' exists already", .where = path_.string()});
  }
  check_git(code, "can't write tag '" + name + "'", path_.string());
}

}  // namespace hone::hub
