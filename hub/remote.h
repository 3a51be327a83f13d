// Reading a hub over its HTTP interface: which commit a revision is, and which files it has.
#pragma once

#include <string>

#include "hub/http.h"
#include "hub/hub_error.h"
#include "hub/repo_tree.h"

namespace hone::hub {

// HF_ENDPOINT, else the public hub.
std::string default_endpoint();
// A client that reads: with the user's token unless HF_HUB_DISABLE_IMPLICIT_TOKEN is set. Throws as
// http_config does.
HttpClient connect_for_reading(const std::string& endpoint);

// The commit a revision ("main" when empty; branch, tag, refs/pr/N or commit id) is now. Asks for
// the repository's description; where a hub has none, for its references, then for a file of that
// revision. Throws as fail_response does for the first answer.
std::string find_remote_commit(const HttpClient& client, const HubTarget& target);

// All files at a commit, checked by check_tree. Follows the pages of the listing, on the endpoint
// only.
RepoTree list_remote_tree(const HttpClient& client, const HubTarget& target,
                          const std::string& commit);

// Where the content of a file at a commit is asked for.
std::string file_url(const HttpClient& client, const HubTarget& target, const std::string& commit,
                     const std::string& path);

}  // namespace hone::hub
