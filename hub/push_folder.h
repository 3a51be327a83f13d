// What of a folder is published, and the checks before anything is written anywhere: shared by all
// kinds of hub.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "hub/repo_id.h"

namespace hone::hub {

// Names that are published, as patterns with '*'. Files of model_file_patterns
// form one set: those of the repository that the folder lacks are removed, so old shards never mix
// with new ones. Everything else of a repository is kept. Optimizer state, checkpoint-*/ and
// pickles are in neither list.
const std::vector<std::string>& model_file_patterns();
const std::vector<std::string>& document_file_patterns();
// '*' stands for any text without '/'.
bool matches_pattern(std::string_view name, std::string_view pattern);
// What `folder` has, by name: its top, and in place of the folder of named chat templates its
// files.
std::vector<std::string> folder_entries(const std::filesystem::path& folder);

struct PushedFile {
  std::string path;
  uint64_t size = 0;  // bytes
};

struct FolderToPush {
  std::vector<PushedFile> files;     // published, by name
  std::vector<std::string> skipped;  // the other entries, by name
};

// The files of `folder` to publish: those of the patterns and of `also_allow`. Throws kMissingInput
// (no folder, nothing to publish, no model, a shard named by an index is absent), kBadInput (a
// pointer instead of content), kNoPermission (a text file holds an access token).
FolderToPush check_folder(const std::filesystem::path& folder, RepoKind kind,
                          const std::vector<std::string>& also_allow);

// Those of `paths` (of a repository) that the new set of model files lacks.
std::vector<std::string> stale_files(const std::vector<std::string>& paths, RepoKind kind,
                                     const FolderToPush& folder);

// "Upload <folder name>"
std::string default_message(const std::filesystem::path& folder);

// The first line (1-based) of `text` that holds a Hugging Face access token, or 0.
size_t find_token_line(std::string_view text);

}  // namespace hone::hub
