// The verbs of the hub as functions that return values; printing is the caller's.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "hub/push.h"
#include "hub/resolve.h"
#include "hub/store.h"

namespace hone::hub {

struct PullResult {
  std::filesystem::path folder;  // the snapshot, or `output`
  Origin origin = Origin::kLocalStore;
  std::string commit;
  std::vector<PushedFile> files;  // by name
  uint64_t downloaded_bytes = 0;
};

enum class PullFrom {
  kNearest,   // a folder or the local store when they have it, else the endpoint's newest
  kEndpoint,  // the endpoint only
};

// `hone pull ID[@REVISION] [--output DIR]`: with an output, files of their own are written there;
// it must be absent or empty (kCannotCreate). Without one, the shared snapshot folder is the
// answer: read it, don't write into it.
PullResult pull(const std::string& id_and_revision, const std::filesystem::path& output,
                RepoKind kind = RepoKind::kModel, const ResolveOptions& options = {},
                PullFrom from = PullFrom::kNearest);

// `hone hub ls [ID[@REVISION]]`: the repositories, or the files of one.
struct HubListing {
  std::vector<RepoInfo> models, datasets;  // without an id
  std::vector<FileEntry> files;            // with one
  std::string commit;                      // with one
};
HubListing list_hub(const LocalStore& store, const std::string& id_and_revision = "",
                    RepoKind kind = RepoKind::kModel);

// `hone hub history ID[@REVISION]`: commits, newest first, with the branches and tags that are at
// each.
struct HistoryEntry {
  CommitInfo commit;
  std::vector<std::string> branches, tags;
};
std::vector<HistoryEntry> list_history(const LocalStore& store, const std::string& id_and_revision,
                                       size_t limit = 50, RepoKind kind = RepoKind::kModel);

}  // namespace hone::hub
