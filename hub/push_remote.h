// Single questions of a push: repository, branch, head, tag, and the commit itself.
#pragma once

#include <string>
#include <vector>

#include "hub/hub_error.h"
#include "hub/push_plan.h"

namespace hone::hub {

std::string api_url(const HttpClient& client, const HubTarget& target, const std::string& path);
std::string page_url(const HttpClient& client, const HubTarget& target);

// `repo_id`, or the user's own name before it when it has no owner.
std::string with_owner(const HttpClient& client, const std::string& repo_id);

// Makes the repository; one that is there is left as it is, also when its user may not make any.
void create_remote_repo(const HttpClient& client, const HubTarget& target, bool is_private);
// Makes target.revision from main when it is not there.
void create_remote_branch(const HttpClient& client, const HubTarget& target);

struct RemoteHead {
  std::string commit;  // "" when the branch has none yet
  bool is_public = false;
};
// Of the branch target.revision. Throws as fail_response does; kUnavailable for nonsense.
RemoteHead read_remote_head(const HttpClient& client, const HubTarget& target);

// The commit a tag is at, or "".
std::string find_remote_tag(const HttpClient& client, const HubTarget& target,
                            const std::string& tag);
// A tag of that name is left where it is.
void create_remote_tag(const HttpClient& client, const HubTarget& target, const std::string& tag,
                       const std::string& commit, const std::string& message);

struct CommitToSend {
  std::string message;
  std::string parent;  // "" when the branch has no commit yet
  std::vector<LocalFile> files;
  std::vector<std::string> removed;
  bool create_pr = false;
};
struct SentCommit {
  std::string commit;        // "" when the branch has moved and holds something else
  std::string pull_request;  // its address, when one was made
};
// Sends the commit to target.revision. When its answer is lost or says nothing, the branch is
// looked at first: unmoved, the commit is sent again; holding the files of the commit, it was made.
// A pull request is never sent again. Throws as fail_push does; kUnavailable.
SentCommit send_commit(const HttpClient& client, const HubTarget& target,
                       const CommitToSend& commit);

}  // namespace hone::hub
