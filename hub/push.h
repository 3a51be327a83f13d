// Publishing a folder: what a model repository needs from it, as one commit.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/store.h"

namespace hone::hub {

// Names of the top folder that are published, as patterns with '*'. Files of kModelFiles form one
// set: those of the repository that the folder lacks are removed, so old shards never mix with new
// ones. Everything else of a repository is kept. Optimizer state, checkpoint-*/ and pickles are in
// neither list.
const std::vector<std::string>& model_file_patterns();
const std::vector<std::string>& document_file_patterns();
bool matches_pattern(std::string_view name, std::string_view pattern);

struct PushOptions {
  RepoKind kind = RepoKind::kModel;
  std::string message;  // default: "Upload <folder name>"
  std::string tag;      // an annotated tag on the commit, when not empty
  std::string branch = "main";
  bool is_private = true;               // for a repository made by this push
  std::vector<std::string> also_allow;  // further patterns, e.g. "*.jsonl" for a dataset
  Author author;
  std::optional<std::string> expected_parent;
  Progress progress;
};

struct PushedFile {
  std::string path;
  uint64_t size = 0;  // bytes
};

struct PushResult {
  std::string commit;
  bool changed = false;  // false: the repository held all of it already, no commit was made
  std::vector<PushedFile> files;     // of the folder, by name, whether or not they changed
  std::vector<std::string> removed;  // from the repository
  std::vector<std::string> skipped;  // entries of the folder that are not published
};

// Creates the repository if needed and pushes. Everything is checked before anything is written.
// Throws kMissingInput (no folder, nothing to publish, a shard named by an index is absent),
// kBadInput (a pointer instead of content), kNoPermission (a text file holds an access token), and
// what LocalStore::commit throws.
PushResult push_folder(LocalStore& store, const std::string& repo_id,
                       const std::filesystem::path& folder, const PushOptions& options);

// The first line (1-based) of `text` that holds a Hugging Face access token, or 0.
size_t find_token_line(std::string_view text);

}  // namespace hone::hub
