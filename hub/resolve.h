// Where a model or dataset id becomes a folder. Order: a folder of that name; a repository of the
// local store; a repository of the Hugging Face cache that has what is needed; an endpoint, from
// which it is pulled into that cache.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hub/model_files.h"
#include "hub/pull_snapshot.h"
#include "hub/repo_id.h"

namespace hone::hub {

enum class Origin { kFolder, kLocalStore, kHubCache, kEndpoint };
// "folder", "local hub", "Hugging Face cache", "endpoint"
std::string_view to_string(Origin origin);

struct ResolvedRepo {
  std::filesystem::path folder;
  Origin origin = Origin::kFolder;
  std::string commit;       // 40 hex characters, "" for a plain folder
  std::string fingerprint;  // the commit, or "sha256:..." of a plain folder: the same wherever the
                            // folder lies
  std::vector<std::string> files;  // those selected, for kHubCache and kEndpoint; empty: unknown
  uint64_t downloaded_bytes = 0;
};

struct ResolveOptions {
  std::optional<std::filesystem::path> store;  // default: LocalStore::default_root()
  std::optional<std::filesystem::path> cache;  // default: default_cache()
  // Called when an endpoint has to be asked; empty: none is.
  std::function<HttpClient()> connect;
  // What is needed of a remote or cached repository; default: a whole model, all of a dataset.
  SelectFiles select;
  PullSettings pull;
};

// The folder of a model. A plain folder must be given with revision "main" or "". Throws
// kMissingInput naming the places searched, kUsage for a bad id, kBadInput for damage found.
ResolvedRepo resolve_model(const std::string& id, const std::string& revision,
                           const ResolveOptions& options = {});
ResolvedRepo resolve_dataset(const std::string& id, const std::string& revision,
                             const ResolveOptions& options = {});

// What the endpoint has now, whatever the places before it hold. When it can't be reached, or the
// user is offline, a snapshot of the cache that has what is needed is taken with a warning, as
// Python's client does.
ResolvedRepo resolve_at_endpoint(RepoKind kind, const std::string& id, const std::string& revision,
                                 const ResolveOptions& options);

// "sha256:..." over names, sizes, the whole of small files and samples of large ones (start, end
// and 16 places between): cheap, and independent of where the folder lies and when it was written.
std::string folder_fingerprint(const std::filesystem::path& folder);

}  // namespace hone::hub
