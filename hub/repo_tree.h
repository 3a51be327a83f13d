// The files of a repository at one commit, as a hub lists them and as the shared cache keeps them
// (trees/<commit>.json).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hone::hub {

struct RemoteFile {
  std::string path;
  uint64_t size = 0;     // of the content, bytes
  std::string blob_id;   // git's name of the blob (of the pointer, for a large file)
  std::string sha256;    // of a large file, else ""
  std::string xet_hash;  // kept for other readers of the cache

  // What names the content: its sha256, or git's blob id.
  const std::string& etag() const { return sha256.empty() ? blob_id : sha256; }
};

struct RepoTree {
  std::string commit;
  std::vector<RemoteFile> files;  // by path

  const RemoteFile* find(std::string_view path) const;
  std::vector<std::string> paths() const;
};

// Sorts the files and throws kBadInput naming `where` for a path that could leave its folder, one
// that is both file and folder, a name listed twice, and hashes that are none.
void check_tree(RepoTree& tree, const std::string& where);

// trees/<commit>.json, format version 1.
std::string tree_json(const RepoTree& tree);
// Nothing for another version, damaged text, or what check_tree refuses: it can be listed again.
std::optional<RepoTree> parse_tree_json(std::string_view text, const std::string& commit);

}  // namespace hone::hub
