#include "hub/push_http.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "hub/parallel_jobs.h"
#include "hub/push_answer.h"
#include "hub/push_remote.h"
#include "hub/push_upload.h"
#include "hub/remote.h"
#include "hub/url.h"

namespace hone::hub {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

constexpr int kMaxPlans = 3;
constexpr size_t kParallelHashes = 4;
constexpr const char* kTokenHint =
    "put an access token into HF_TOKEN or $HF_HOME/token (readable by you alone)";
constexpr const char* kPushAgain = "push again: what is there already is not sent twice";

void check_options(const HttpClient& client, const std::string& repo_id,
                   const PushOptions& options) {
  check_repo_id(repo_id.find('/') == std::string::npos ? "owner/" + repo_id : repo_id);
  check_branch_or_tag(options.branch);
  if (!options.tag.empty()) check_branch_or_tag(options.tag);
  if (options.create_pr && !options.tag.empty()) {
    core::fail(ErrorKind::kUsage, {.what = "a pull request can't be tagged",
                                   .hint = "tag the branch when the pull request is merged"});
  }
  if (client.config().token.empty()) {
    core::fail(
        ErrorKind::kNoPermission,
        {.what = "a push needs an access token", .where = client.endpoint(), .hint = kTokenHint});
  }
}

std::string first_bytes(const fs::path& path, uint64_t size) {
  if (size == 0) return "";
  const core::MappedFile file(path);
  return std::string(file.text().substr(0, kSampleBytes));
}

std::vector<LocalFile> local_files(const fs::path& folder, const FolderToPush& selection) {
  std::vector<LocalFile> files;
  for (const PushedFile& file : selection.files) {
    const fs::path source = folder / file.path;
    files.push_back({.path = file.path,
                     .source = source,
                     .size = file.size,
                     .sample = first_bytes(source, file.size)});
  }
  return files;
}

void ask_modes(const HttpClient& client, const HubTarget& target, bool create_pr,
               std::vector<LocalFile>& files) {
  const std::string url = api_url(client, target, "preupload/" + url_encode(target.revision)) +
                          (create_pr ? "?create_pr=1" : "");
  std::vector<LocalFile> answered;
  for (size_t start = 0; start < files.size(); start += kFilesPerRequest) {
    const auto from = files.begin() + static_cast<ptrdiff_t>(start);
    const size_t count = std::min(kFilesPerRequest, files.size() - start);
    std::vector<LocalFile> lot(from, from + static_cast<ptrdiff_t>(count));
    read_preupload(post_json(client, target, url, preupload_body(lot)), shown_url(url), lot);
    std::move(lot.begin(), lot.end(), std::back_inserter(answered));
  }
  files = std::move(answered);
}

void hash(std::vector<LocalFile>& files) {
  std::atomic<bool> stop = false;
  run_parallel(files.size(), kParallelHashes, stop, [&](size_t i) {
    LocalFile& file = files[i];
    const bool is_sha256 = file.oid.size() == 64;  // from an earlier plan
    if (file.is_large && is_sha256) return;
    if (file.is_large) {
      file.oid = core::sha256_file(file.source);
    } else {
      file.content = core::read_file(file.source);
      file.oid = core::git_blob_sha1(file.content);
    }
  });
}

// The large files among those that are new or changed; `changes` when there are any of these.
std::vector<LocalFile> changed_large_files(const std::vector<LocalFile>& files, bool* changes) {
  std::vector<LocalFile> large;
  for (const LocalFile& file : files) {
    if (file.is_ignored) spdlog::warn("{}: the repository ignores it (.gitignore)", file.path);
    if (file.is_ignored || file.is_unchanged()) continue;
    *changes = true;
    if (file.is_large) large.push_back(file);
  }
  return large;
}

void check_parent_and_tag(const HttpClient& client, const HubTarget& target,
                          const PushOptions& options, const std::string& head, bool changes) {
  if (options.expected_parent && *options.expected_parent != head) {
    core::fail(ErrorKind::kCannotCreate,
               {.what = "the branch has moved",
                .where = to_string(target) + " at " + page_url(client, target),
                .got = head,
                .expected = *options.expected_parent});
  }
  if (options.tag.empty()) return;
  const std::string tagged = find_remote_tag(client, target, options.tag);
  if (tagged.empty() || (!changes && tagged == head)) return;
  core::fail(ErrorKind::kCannotCreate, {.what = "tag '" + options.tag + "' exists already",
                                        .where = page_url(client, target),
                                        .got = "at " + tagged,
                                        .hint = "choose another tag"});
}

// Plans the commit on the branch's head, uploads and sends it. False when the branch has moved.
bool try_push(const HttpClient& client, const HubTarget& target, const FolderToPush& selection,
              const PushOptions& options, const std::string& message, std::vector<LocalFile>& files,
              PushResult& result) {
  const RemoteHead head = read_remote_head(client, target);
  result.is_public = head.is_public;
  RepoTree tree;
  if (!head.commit.empty()) tree = list_remote_tree(client, target, head.commit);
  result.removed = stale_files(tree.paths(), target.kind, selection);
  ask_modes(client, target, options.create_pr, files);
  hash(files);
  result.changed = !result.removed.empty();
  const std::vector<LocalFile> large = changed_large_files(files, &result.changed);
  check_parent_and_tag(client, target, options, head.commit, result.changed);
  result.commit = head.commit;
  if (!result.changed) return true;
  result.sent_bytes +=
      upload_large_files(client, target, options.create_pr ? "" : options.branch, large);
  const SentCommit sent = send_commit(client, target,
                                      {.message = message,
                                       .parent = head.commit,
                                       .files = files,
                                       .removed = result.removed,
                                       .create_pr = options.create_pr});
  result.commit = sent.commit;
  result.pull_request = sent.pull_request;
  return !sent.commit.empty();
}

}  // namespace

PushResult push_folder(const HttpClient& client, const std::string& repo_id, const fs::path& folder,
                       const PushOptions& options) {
  check_options(client, repo_id, options);
  const FolderToPush selection = check_folder(folder, options.kind, options.also_allow);
  const HubTarget target{
      .kind = options.kind, .id = with_owner(client, repo_id), .revision = options.branch};
  check_repo_id(target.id);
  PushResult result{.repo_id = target.id,
                    .files = selection.files,
                    .skipped = selection.skipped,
                    .place = page_url(client, target)};
  if (!options.create_pr) {
    create_remote_repo(client, target, options.is_private);
    if (options.branch != "main") create_remote_branch(client, target);
  }
  const std::string message = options.message.empty() ? default_message(folder) : options.message;
  std::vector<LocalFile> files = local_files(folder, selection);
  for (int plan = 1; !try_push(client, target, selection, options, message, files, result);
       ++plan) {
    if (plan == kMaxPlans || options.expected_parent) {
      core::fail(ErrorKind::kCannotCreate,
                 {.what = "the branch has moved: someone else has pushed meanwhile",
                  .where = to_string(target) + " at " + result.place,
                  .hint = kPushAgain});
    }
    spdlog::info("{} has moved meanwhile: planning the commit anew", to_string(target));
  }
  if (result.is_public && options.is_private)
    spdlog::warn("{} is public: it was made so before", result.place);
  if (!options.tag.empty()) create_remote_tag(client, target, options.tag, result.commit, message);
  return result;
}

std::string push_problem(const std::string& endpoint) {
  try {
    const HttpClient client(http_config(endpoint));
    if (client.config().offline) return "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set";
    if (client.config().token.empty())
      return "a push to " + endpoint + " needs an access token: " + kTokenHint;
    return "";
  } catch (const core::Error& error) {
    return core::format_detail(error.detail());
  }
}

}  // namespace hone::hub
