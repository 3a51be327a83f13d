// Publishing a folder: what a model repository needs from it, as one commit.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "hub/push_folder.h"
#include "hub/store.h"

namespace hone::hub {

struct PushOptions {
  RepoKind kind = RepoKind::kModel;
  std::string message;  // default: "Upload <folder name>"
  std::string tag;      // an annotated tag on the commit, when not empty
  std::string branch = "main";
  bool create_pr = false;  // over HTTP: the commit becomes a pull request against the branch
  bool is_private = true;  // for a repository made by this push
  std::vector<std::string> also_allow;  // further patterns, e.g. "*.jsonl" for a dataset
  Author author;
  // When set, the branch must be at this commit, else the push is refused.
  std::optional<std::string> expected_parent;
  Progress progress;
};

struct PushResult {
  std::string repo_id;
  std::string commit;
  bool changed = false;  // false: the repository held all of it already, no commit was made
  std::vector<PushedFile> files;     // of the folder, by name, whether or not they changed
  std::vector<std::string> removed;  // from the repository
  std::vector<std::string> skipped;  // entries of the folder that are not published
  std::string place;                 // the store's folder, or the address of the repository
  std::string pull_request;          // its address, when one was made
  bool is_public = false;
  uint64_t sent_bytes = 0;  // of large files, over HTTP
};

// Creates the repository if needed and pushes. Everything is checked before anything is written.
// Throws what check_folder and LocalStore::commit throw; kUsage for create_pr.
PushResult push_folder(LocalStore& store, const std::string& repo_id,
                       const std::filesystem::path& folder, const PushOptions& options);

// `endpoint`, else HF_ENDPOINT, else "": the local store at its default place.
std::string push_endpoint(const std::string& endpoint);
bool is_http_endpoint(const std::string& endpoint);

// Pushes to push_endpoint(endpoint): over HTTP (hub/push_http.h), or to the local store that a
// folder, file:///path or "" names.
PushResult publish(const std::string& endpoint, const std::string& repo_id,
                   const std::filesystem::path& folder, const PushOptions& options);

}  // namespace hone::hub
