// Large files on their way to a hub, by the transfers "basic" and "multipart" of git-lfs:
// https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hub/hub_error.h"
#include "hub/push_plan.h"

namespace hone::hub {

// Uploads what the hub lacks of `files` (all of them large, oid known): several files and parts at
// a time, streamed, then verified where the hub asks for it. An address that has run out is asked
// for once more. Presigned addresses never get the hub's token. Returns the bytes of the files
// sent. Throws kUnavailable, kNoPermission, kBadInput (the hub refuses the content), kIo.
uint64_t upload_large_files(const HttpClient& client, const HubTarget& target,
                            const std::string& branch, const std::vector<LocalFile>& files);

}  // namespace hone::hub
