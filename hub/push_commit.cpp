#include <algorithm>

#include "core/error.h"
#include "hub/push_answer.h"
#include "hub/push_remote.h"
#include "hub/remote.h"
#include "hub/url.h"

namespace hone::hub {
using core::ErrorKind;
namespace {

// A hub may check and index what it gets before it answers.
constexpr std::chrono::seconds kLongestSilence{180};

HttpRequest commit_request(const HttpClient& client, const HubTarget& target,
                           const CommitToSend& commit) {
  return {.method = "POST",
          .url = api_url(client, target, "commit/" + url_encode(target.revision)) +
                 (commit.create_pr ? "?create_pr=1" : ""),
          .headers = {{"Content-Type", "application/x-ndjson"}},
          .body = commit_body(commit.message, commit.parent, commit.files, commit.removed),
          .follow_to_others = false,
          .retry = false,
          .stall = kLongestSilence};
}

SentCommit read_commit(const HttpResponse& response, const HubTarget& target) {
  const core::Json answer = json_object(response, target);
  SentCommit sent;
  const auto oid = answer.find("commitOid"), link = answer.find("pullRequestUrl");
  if (link != answer.end() && link->is_string()) sent.pull_request = link->get<std::string>();
  if (oid != answer.end() && oid->is_string()) sent.commit = oid->get<std::string>();
  if (is_commit_id(sent.commit)) return sent;
  core::fail(ErrorKind::kUnavailable,
             {.what = "the hub does not name the commit it made", .where = to_string(target)});
}

// Whether a revision's files are what the commit wants.
bool holds(const RepoTree& tree, const CommitToSend& commit) {
  for (const LocalFile& file : commit.files) {
    const RemoteFile* remote = tree.find(file.path);
    if (!file.is_ignored && (remote == nullptr || remote->etag() != file.oid)) return false;
  }
  return std::none_of(commit.removed.begin(), commit.removed.end(),
                      [&](const std::string& path) { return tree.find(path) != nullptr; });
}

[[noreturn]] void fail_in_doubt(const HttpClient& client, const HubTarget& target,
                                const std::string& why, bool create_pr) {
  core::fail(ErrorKind::kUnavailable,
             {.what = (create_pr ? "the pull request may or may not have been opened: "
                                 : "the commit was not answered for: ") +
                      why,
              .where = to_string(target) + " at " + page_url(client, target),
              .hint = create_pr ? "look at " + page_url(client, target) +
                                      "/discussions before you push again"
                                : "push again: what is there already is not sent twice"});
}

}  // namespace

SentCommit send_commit(const HttpClient& client, const HubTarget& target,
                       const CommitToSend& commit) {
  const HttpRequest request = commit_request(client, target, commit);
  for (int attempt = 1;; ++attempt) {
    const HttpResponse response = client.send_once(request);
    if (response.ok()) return read_commit(response, target);
    const bool is_conflict = response.status == 409 || response.status == 412;
    if (is_conflict && (attempt == 1 || commit.create_pr)) return {};
    if (!is_conflict) {
      if (!is_retryable(response)) fail_push(response, target, client);
      const auto delay = retry_delay(attempt, response);
      if (commit.create_pr || !delay || attempt > client.config().max_retries) {
        fail_in_doubt(client, target,
                      response.error.empty() ? "it answers " + std::to_string(response.status)
                                             : response.error,
                      commit.create_pr);
      }
      client.sleep(*delay);
    }
    const std::string head = read_remote_head(client, target).commit;
    if (head == commit.parent) {
      if (is_conflict) return {};
      continue;
    }
    const bool is_ours = !head.empty() && holds(list_remote_tree(client, target, head), commit);
    return {.commit = is_ours ? head : ""};
  }
}

}  // namespace hone::hub
