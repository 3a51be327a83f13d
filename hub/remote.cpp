#include "hub/remote.h"

#include <spdlog/spdlog.h>

#include <cstdlib>

#include "core/error.h"
#include "core/json.h"
#include "hub/url.h"

namespace hone::hub {
namespace {

using core::ErrorKind;
using core::Json;

constexpr size_t kMaxFiles = 1'000'000;
constexpr size_t kMaxPages = 10'000;

std::string api_url(const HttpClient& client, const HubTarget& target) {
  return client.endpoint() + "/api/" + std::string(plural(target.kind)) + "/" + target.id;
}

Json json_body(const HttpResponse& response) {
  return Json::parse(response.body, nullptr, /*allow_exceptions=*/false);
}

std::string text_of(const Json& object, const char* key) {
  if (!object.is_object()) return "";
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string checked_commit(const std::string& commit) { return is_commit_id(commit) ? commit : ""; }

// The commit of a branch or tag of that name in the list of references, or "".
std::string commit_from_refs(const HttpClient& client, const HubTarget& target) {
  const bool is_pull_request = target.revision.starts_with("refs/pr/");
  const HttpResponse response = client.send(
      {.url = api_url(client, target) + "/refs" + (is_pull_request ? "?include_prs=1" : "")});
  const Json refs = response.ok() ? json_body(response) : Json();
  if (!refs.is_object()) return "";
  for (const auto& [group, list] : refs.items()) {
    if (!list.is_array()) continue;
    for (const Json& ref : list) {
      if (text_of(ref, "name") != target.revision && text_of(ref, "ref") != target.revision)
        continue;
      if (std::string commit = checked_commit(text_of(ref, "targetCommit")); !commit.empty()) {
        return commit;
      }
    }
  }
  return "";
}

// From the header of a file most repositories have, or "".
std::string commit_from_files(const HttpClient& client, const HubTarget& target) {
  for (const char* name : {"README.md", "config.json", ".gitattributes"}) {
    const HttpResponse response =
        client.send({.method = "HEAD",
                     .url = file_url(client, target, target.revision, name),
                     .follow_to_others = false});
    std::string commit = checked_commit(response.header("x-repo-commit").value_or(""));
    if (!commit.empty()) return commit;
  }
  return "";
}

RemoteFile file_of(const Json& entry) {
  RemoteFile file{.path = text_of(entry, "path"),
                  .blob_id = text_of(entry, "oid"),
                  .xet_hash = text_of(entry, "xetHash")};
  Json size = entry.value("size", Json());
  if (const auto lfs = entry.find("lfs"); lfs != entry.end() && lfs->is_object()) {
    file.sha256 = text_of(*lfs, "oid");
    if (file.sha256.empty()) file.sha256 = text_of(*lfs, "sha256");
    size = lfs->value("size", size);
  }
  if (!size.is_number_unsigned()) {
    core::fail(ErrorKind::kBadInput,
               {.what = "the hub lists a file without its size", .where = file.path});
  }
  file.size = size.get<uint64_t>();
  return file;
}

void add_page(const HttpResponse& page, const std::string& where, RepoTree& tree) {
  const Json list = json_body(page);
  if (!list.is_array()) {
    core::fail(ErrorKind::kUnavailable,
               {.what = "the hub's list of files is not a JSON array", .where = where});
  }
  for (const Json& entry : list) {
    if (!entry.is_object() || text_of(entry, "type") == "directory") continue;
    tree.files.push_back(file_of(entry));
  }
  if (tree.files.size() > kMaxFiles) {
    core::fail(ErrorKind::kBadInput,
               {.what = "the repository has more than a million files", .where = where});
  }
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

std::string default_endpoint() {
  const std::string endpoint = environment("HF_ENDPOINT");
  return endpoint.empty() ? "https://huggingface.co" : endpoint;
}

HttpClient connect_for_reading(const std::string& endpoint) {
  HttpConfig config = http_config(endpoint);
  const std::string off = environment("HF_HUB_DISABLE_IMPLICIT_TOKEN");
  if (!off.empty() && off != "0") config.token.clear();
  return HttpClient(std::move(config));
}

std::string file_url(const HttpClient& client, const HubTarget& target, const std::string& commit,
                     const std::string& path) {
  return client.endpoint() + (target.kind == RepoKind::kDataset ? "/datasets/" : "/") + target.id +
         "/resolve/" + url_encode(commit) + "/" + url_encode(path, "/");
}

std::string find_remote_commit(const HttpClient& client, const HubTarget& asked) {
  HubTarget target = asked;
  if (target.revision.empty()) target.revision = "main";
  if (is_commit_id(target.revision)) return target.revision;
  const HttpResponse info =
      client.send({.url = api_url(client, target) + "/revision/" + url_encode(target.revision)});
  if (info.ok()) {
    std::string commit = checked_commit(text_of(json_body(info), "sha"));
    if (!commit.empty()) return commit;
  }
  // A hub that says clearly what is missing is believed.
  const std::string code = error_code(info);
  if (code == "RevisionNotFound" || code == "GatedRepo") fail_response(info, target, client);
  spdlog::debug("no description of {} ({}): asking for references", to_string(target), info.status);
  std::string commit = commit_from_refs(client, target);
  if (commit.empty()) commit = commit_from_files(client, target);
  if (!commit.empty()) return commit;
  if (!info.ok()) fail_response(info, target, client);
  core::fail(ErrorKind::kUnavailable, {.what = "the hub does not say which commit the revision is",
                                       .where = to_string(target) + " at " + client.endpoint()});
}

RepoTree list_remote_tree(const HttpClient& client, const HubTarget& target,
                          const std::string& commit) {
  const std::string where = to_string(target);
  RepoTree tree{.commit = commit};
  std::string url =
      api_url(client, target) + "/tree/" + url_encode(commit) + "?recursive=true&expand=false";
  for (size_t page = 0; !url.empty(); ++page) {
    if (page == kMaxPages || !same_origin(parse_url(url), parse_url(client.endpoint()))) {
      core::fail(ErrorKind::kUnavailable,
                 {.what = "the hub's list of files does not end, or goes on elsewhere",
                  .where = where,
                  .got = shown_url(url)});
    }
    const HttpResponse response = client.send({.url = url});
    if (!response.ok()) fail_response(response, target, client);
    add_page(response, where, tree);
    url = link_of(response, "next");
  }
  check_tree(tree, where);
  return tree;
}

}  // namespace hone::hub
