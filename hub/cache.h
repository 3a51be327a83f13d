// The Hugging Face cache, read only: what Python's huggingface_hub has downloaded. Layout:
//   <cache>/{models,datasets}--<owner>--<name>/refs/<revision>       a commit id
//   <cache>/{models,datasets}--<owner>--<name>/snapshots/<commit>/   links to ../../blobs/<etag>
// https://huggingface.co/docs/huggingface_hub/guides/manage-cache
#pragma once

#include <filesystem>
#include <string>

#include "hub/repo_id.h"

namespace hone::hub {

// HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else $HF_HOME/hub, else
// $XDG_CACHE_HOME/huggingface/hub, else
// ~/.cache/huggingface/hub; "" when none of these can be told.
std::filesystem::path default_cache();

struct CacheHit {
  std::filesystem::path folder;  // "" when the cache lacks it
  std::string commit;
  std::string reason;  // why not, for a message
};

// Looks a revision (branch, tag, commit id or a unique start of one) up. Throws kBadInput when a
// file of the snapshot is a link that leaves the cache, or one whose blob is gone.
CacheHit find_in_cache(const std::filesystem::path& cache, RepoKind kind, const std::string& id,
                       const std::string& revision);

}  // namespace hone::hub
