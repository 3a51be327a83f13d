// Where a model or dataset id becomes a folder. Order: a folder of that name; a repository of the
// local store; a repository of the Hugging Face cache.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "hub/repo_id.h"

namespace hone::hub {

enum class Origin { kFolder, kLocalStore, kHubCache };
std::string_view to_string(Origin origin);  // "folder", "local hub", "Hugging Face cache"

struct ResolvedRepo {
  std::filesystem::path folder;
  Origin origin = Origin::kFolder;
  std::string commit;       // 40 hex characters, "" for a plain folder
  std::string fingerprint;  // the commit, or "sha256:..." of a plain folder: the same wherever the
                            // folder lies
};

struct ResolveOptions {
  std::optional<std::filesystem::path> store;  // default: LocalStore::default_root()
  std::optional<std::filesystem::path> cache;  // default: default_cache()
};

// The folder of a model. A plain folder must be given with revision "main" or "". Throws
// kMissingInput naming the three places searched, kUsage for a bad id, kBadInput for damage found.
ResolvedRepo resolve_model(const std::string& id, const std::string& revision,
                           const ResolveOptions& options = {});
ResolvedRepo resolve_dataset(const std::string& id, const std::string& revision,
                             const ResolveOptions& options = {});

// "sha256:..." over names, sizes, the whole of small files and samples of large ones (start, end
// and 16 places between): cheap, and independent of where the folder lies and when it was written.
std::string folder_fingerprint(const std::filesystem::path& folder);

}  // namespace hone::hub
