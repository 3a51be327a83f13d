// Writing one repository of the Hugging Face cache, so that Python's tools read it, also at the
// same time: blobs appear whole by rename, snapshots are relative links, nothing existing is
// changed. https://huggingface.co/docs/huggingface_hub/guides/manage-cache
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "hub/repo_id.h"
#include "hub/repo_tree.h"

namespace hone::hub {

class CacheRepo {
 public:
  CacheRepo(std::filesystem::path cache, RepoKind kind, const std::string& id);

  const std::filesystem::path& cache() const { return cache_; }
  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path snapshot(const std::string& commit) const;
  std::filesystem::path blob(const std::string& etag) const;
  // Ours alone: what has arrived of a blob, kept between runs.
  std::filesystem::path partial(const std::string& etag) const;
  std::filesystem::path lock(const std::string& etag) const;  // flock(2), as Python's tools do

  // Makes the folders (a new cache is the user's alone) and CACHEDIR.TAG. Throws kNoPermission for
  // a cache that anybody may write into.
  void create() const;

  // Whether the snapshot has the file with the size of the listing.
  bool has_file(const std::string& commit, const RemoteFile& file) const;
  // Links the file of the snapshot to its blob: relative, replacing what is there, in one step.
  // Where links can't be made, or HF_HUB_DISABLE_SYMLINKS is set, the file itself is there twice.
  void link_file(const std::string& commit, const RemoteFile& file) const;

  // refs/<revision>: what a branch or tag was last seen at. Nothing for a commit id.
  void write_ref(const std::string& revision, const std::string& commit) const;
  // .no_exist/<commit>/<path>: known to be missing.
  void mark_missing(const std::string& commit, const std::string& path) const;
  void write_tree(const RepoTree& tree) const;
  std::optional<RepoTree> read_tree(const std::string& commit) const;

 private:
  std::filesystem::path cache_, folder_, locks_;
};

}  // namespace hone::hub
