// One blob of a cache over HTTP: in ranges by several connections at once, resumed where an earlier
// run ended, verified before it gets its name.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "hub/hub_error.h"
#include "hub/repo_tree.h"

namespace hone::hub {

struct BlobDownload {
  std::string url;
  HubTarget target;    // file set, for messages
  RemoteFile file;     // size and hash
  std::string commit;  // what the hub must say the content is of, when it says it
  std::filesystem::path blob, partial, lock;
};

struct DownloadSettings {
  size_t num_connections = 8;
  uint64_t block_bytes = uint64_t{1} << 20;     // what a kill can cost
  uint64_t segment_bytes = uint64_t{64} << 20;  // one request
};

// Bytes that have come (or, negative, were thrown away) since the last call, over the network now
// or by an earlier run or another process; from any thread.
using BytesArrived = std::function<void(int64_t bytes, bool by_network)>;

// Leaves the verified blob under its name; waits while another process downloads it. Content with
// the wrong hash is deleted and fetched once more. Throws kBadInput when it is wrong again or of
// another size, kUnavailable when the hub can't be reached (what has come is kept), and as
// fail_response does.
void download_blob(const HttpClient& client, const BlobDownload& download,
                   const DownloadSettings& settings, std::atomic<bool>& stop,
                   const BytesArrived& arrived);

// Whether the content at `path` (links followed) is that of `file`: size, then sha256 or git's
// sha1.
bool has_content(const std::filesystem::path& path, const RemoteFile& file);

}  // namespace hone::hub
