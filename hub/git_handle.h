// Ownership and error handling for libgit2, shared by this folder's two git files.
#pragma once

#include <git2.h>

#include <memory>
#include <string>

#include "core/error.h"

namespace hone::hub {

template <auto free_function>
struct FreeBy {
  template <class T>
  void operator()(T* object) const {
    free_function(object);
  }
};
template <class T, auto free_function>
using GitHandle = std::unique_ptr<T, FreeBy<free_function>>;

using CommitHandle = GitHandle<git_commit, git_commit_free>;
using TreeHandle = GitHandle<git_tree, git_tree_free>;
using BlobHandle = GitHandle<git_blob, git_blob_free>;
using IndexHandle = GitHandle<git_index, git_index_free>;
using OdbHandle = GitHandle<git_odb, git_odb_free>;
using ReferenceHandle = GitHandle<git_reference, git_reference_free>;
using ObjectHandle = GitHandle<git_object, git_object_free>;
using SignatureHandle = GitHandle<git_signature, git_signature_free>;
using WalkHandle = GitHandle<git_revwalk, git_revwalk_free>;
using RefIteratorHandle = GitHandle<git_reference_iterator, git_reference_iterator_free>;

inline std::string git_message() {
  const git_error* error = git_error_last();
  return error != nullptr && error->message != nullptr ? error->message : "unknown git error";
}

// Throws `kind` naming `where` when a libgit2 call failed.
inline void check_git(int code, const std::string& what, const std::string& where,
                      core::ErrorKind kind = core::ErrorKind::kIo) {
  if (code < 0) core::fail(kind, {.what = what + ": " + git_message(), .where = where});
}

inline std::string to_hex(const git_oid& oid) {
  char text[GIT_OID_HEXSZ + 1];
  git_oid_tostr(text, sizeof(text), &oid);
  return text;
}

inline git_oid to_oid(const std::string& hex, const std::string& where) {
  git_oid oid;
  check_git(git_oid_fromstr(&oid, hex.c_str()), "bad object name '" + hex + "'", where,
            core::ErrorKind::kInternal);
  return oid;
}

}  // namespace hone::hub
