// A revision of a remote repository as a folder of the shared cache.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "hub/download.h"
#include "hub/http.h"
#include "hub/hub_error.h"
#include "hub/model_files.h"

namespace hone::hub {

struct PullState {
  uint64_t done_bytes = 0, total_bytes = 0;  // of the files that were missing
  size_t num_done = 0, num_files = 0;
  uint64_t network_bytes = 0;  // over the network in this run: what a rate is of
};
// Called from one thread at a time, often.
using PullProgress = std::function<void(const PullState&)>;

struct PullSettings {
  PullProgress progress;
  DownloadSettings download;
  bool verify = false;  // hash what the cache holds already, and mend it
  std::string commit;   // what the revision is, when that is known already; else the hub is asked
};

struct PulledSnapshot {
  std::filesystem::path folder;
  std::string commit;
  std::vector<std::string> files;  // those selected
  uint64_t downloaded_bytes = 0;
};

// Pins the revision to a commit, lists it, and brings the selected files that the cache lacks. What
// is listed is checked before anything is written. Throws kBadInput (unsafe names, wrong content),
// kIo (not enough space, with both numbers), and as find_remote_commit and download_blob do.
PulledSnapshot pull_snapshot(const HttpClient& client, const std::filesystem::path& cache,
                             const HubTarget& target, const SelectFiles& select,
                             const PullSettings& settings = {});

}  // namespace hone::hub
