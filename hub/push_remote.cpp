#include "hub/push_remote.h"

#include "core/error.h"
#include "core/text.h"
#include "hub/push_answer.h"
#include "hub/url.h"

namespace hone::hub {
using core::ErrorKind;

std::string api_url(const HttpClient& client, const HubTarget& target, const std::string& path) {
  return client.endpoint() + "/api/" + std::string(plural(target.kind)) + "/" + target.id + "/" +
         path;
}

std::string page_url(const HttpClient& client, const HubTarget& target) {
  return client.endpoint() + (target.kind == RepoKind::kDataset ? "/datasets/" : "/") + target.id;
}

std::string with_owner(const HttpClient& client, const std::string& repo_id) {
  if (repo_id.find('/') != std::string::npos) return repo_id;
  const HubTarget target{.id = repo_id};
  const HttpResponse response = client.send({.url = client.endpoint() + "/api/whoami-v2"});
  if (!response.ok()) fail_response(response, target, client);
  const core::Json answer = json_object(response, target);
  if (!answer.contains("name") || !answer["name"].is_string()) {
    core::fail(ErrorKind::kUnavailable, {.what = "the hub does not say whose token this is",
                                         .where = client.endpoint(),
                                         .hint = "write the repository as owner/name"});
  }
  return answer["name"].get<std::string>() + "/" + repo_id;
}

void create_remote_repo(const HttpClient& client, const HubTarget& asked, bool is_private) {
  const HubTarget target{.kind = asked.kind, .id = asked.id};
  for (int attempt = 1;; ++attempt) {
    const HttpResponse response = post(client, client.endpoint() + "/api/repos/create",
                                       create_repo_body(target.kind, target.id, is_private));
    if (response.ok()) return;
    if (response.status == 409) {
      const bool is_busy =
          error_message(response).find("conflicting operation") != std::string::npos;
      if (!is_busy || attempt > client.config().max_retries) return;
      client.sleep(std::chrono::seconds(1));
      continue;
    }
    // Who may not create repositories may still write to one that is there.
    if (response.status == 403 &&
        client.send({.url = api_url(client, target, "revision/main")}).ok()) {
      return;
    }
    fail_push(response, target, client);
  }
}

void create_remote_branch(const HttpClient& client, const HubTarget& target) {
  const HttpResponse response =
      post(client, api_url(client, target, "branch/" + url_encode(target.revision)), "{}");
  if (!response.ok() && response.status != 409) fail_push(response, target, client);
}

RemoteHead read_remote_head(const HttpClient& client, const HubTarget& target) {
  const HttpResponse response =
      client.send({.url = api_url(client, target, "revision/" + url_encode(target.revision))});
  if (response.status == 404 && error_code(response) == "RevisionNotFound") return {};
  if (!response.ok()) fail_response(response, target, client);
  const core::Json info = json_object(response, target);
  RemoteHead head;
  const auto visibility = info.find("private");
  if (visibility != info.end() && visibility->is_boolean())
    head.is_public = !visibility->get<bool>();
  const auto sha = info.find("sha");
  if (sha != info.end() && sha->is_null()) return head;
  if (sha != info.end() && sha->is_string()) head.commit = sha->get<std::string>();
  if (is_commit_id(head.commit)) return head;
  core::fail(ErrorKind::kUnavailable, {.what = "the hub does not say which commit the branch is",
                                       .where = to_string(target),
                                       .got = core::excerpt(response.body)});
}

std::string find_remote_tag(const HttpClient& client, const HubTarget& target,
                            const std::string& tag) {
  const HttpResponse response = client.send({.url = api_url(client, target, "refs")});
  if (!response.ok()) fail_response(response, target, client);
  const core::Json refs = json_object(response, target);
  const auto tags = refs.find("tags");
  if (tags == refs.end() || !tags->is_array()) return "";
  for (const core::Json& one : *tags) {
    if (!one.is_object() || one.value("name", core::Json()) != tag) continue;
    const core::Json commit = one.value("targetCommit", core::Json());
    return commit.is_string() ? commit.get<std::string>() : "an unknown commit";
  }
  return "";
}

void create_remote_tag(const HttpClient& client, const HubTarget& target, const std::string& tag,
                       const std::string& commit, const std::string& message) {
  const HttpResponse response =
      post(client, api_url(client, target, "tag/" + url_encode(commit)), tag_body(tag, message));
  if (!response.ok() && response.status != 409) fail_push(response, target, client);
}

}  // namespace hone::hub
