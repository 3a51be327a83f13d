#include "hub/push_upload.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <set>

#include "core/error.h"
#include "core/text.h"
#include "hub/parallel_jobs.h"
#include "hub/push_answer.h"
#include "hub/transfer_progress.h"
#include "hub/url.h"

namespace hone::hub {
using core::ErrorKind;
namespace {

constexpr size_t kParallelUploads = 4;
// A store may need a while to answer after the last byte of a large part.
constexpr std::chrono::seconds kLongestSilence{120};
const std::vector<Header> kLfsHeaders = {{"Accept", "application/vnd.git-lfs+json"},
                                         {"Content-Type", "application/vnd.git-lfs+json"}};

// One large file that the hub wants.
struct Upload {
  const LocalFile* file = nullptr;
  UploadAction action;
  std::vector<std::string> etags;  // of parts
  std::atomic<size_t> parts_left = 1;
  std::atomic<bool> address_expired = false;
};

struct Part {
  Upload* upload = nullptr;
  size_t index = 0;
};

class Uploader {
 public:
  Uploader(const HttpClient& client, const HubTarget& target, std::string branch, uint64_t total)
      : client_(client),
        target_(target),
        branch_(std::move(branch)),
        progress_(total, [](const std::string& text) { spdlog::info("uploading: {}", text); }) {}

  uint64_t run(const std::vector<const LocalFile*>& files);

 private:
  std::vector<std::unique_ptr<Upload>> wanted_uploads(const std::vector<const LocalFile*>& files);
  void send_part(const Part& part, bool is_last_round);
  void finish(Upload& upload);
  HubTarget target_of(const Upload& upload) const;

  const HttpClient& client_;
  const HubTarget& target_;
  std::string branch_;
  TransferProgress progress_;
  std::atomic<bool> cancelled_ = false;
};

HubTarget Uploader::target_of(const Upload& upload) const {
  HubTarget target = target_;
  target.file = upload.file->path;
  return target;
}

std::vector<std::unique_ptr<Upload>> Uploader::wanted_uploads(
    const std::vector<const LocalFile*>& files) {
  const std::string url = client_.endpoint() +
                          (target_.kind == RepoKind::kDataset ? "/datasets/" : "/") + target_.id +
                          ".git/info/lfs/objects/batch";
  std::vector<std::unique_ptr<Upload>> uploads;
  for (size_t start = 0; start < files.size(); start += kFilesPerRequest) {
    const size_t end = std::min(files.size(), start + kFilesPerRequest);
    std::vector<LargeObject> objects;
    for (size_t i = start; i < end; ++i) objects.push_back({files[i]->oid, files[i]->size});
    const core::Json answer =
        post_json(client_, target_, url, batch_body(objects, branch_), {.headers = kLfsHeaders});
    for (UploadAction& action : read_batch(answer, shown_url(url), client_.endpoint(), objects)) {
      const auto file = std::find_if(files.begin(), files.end(), [&](const LocalFile* one) {
        return one->oid == action.sha256;
      });
      auto upload = std::make_unique<Upload>();
      upload->file = *file;
      const size_t num_parts = action.part_urls.size();
      upload->etags.resize(num_parts);
      if (action.chunk_size > 0) upload->parts_left = num_parts;
      upload->action = std::move(action);
      uploads.push_back(std::move(upload));
    }
  }
  return uploads;
}

void Uploader::send_part(const Part& part, bool is_last_round) {
  Upload& upload = *part.upload;
  const UploadAction& action = upload.action;
  const bool is_basic = action.chunk_size == 0;
  const uint64_t offset = is_basic ? 0 : part.index * action.chunk_size;
  const uint64_t size = is_basic ? action.size : std::min(action.chunk_size, action.size - offset);
  const std::string name = upload.file->path + "#" + std::to_string(part.index);
  const HttpResponse response =
      client_.send({.method = "PUT",
                    .url = is_basic ? action.href : action.part_urls[part.index],
                    .headers = action.headers,
                    .body = FileRange{.path = upload.file->source, .offset = offset, .size = size},
                    .send_token = false,
                    .stall = kLongestSilence,
                    .on_sent = [&](uint64_t sent) { progress_.set(name, sent); },
                    .is_cancelled = [&] { return cancelled_.load(); }});
  if (response.status == 403 && !is_last_round) {
    upload.address_expired = true;
    return;
  }
  if (!response.ok()) fail_push(response, target_of(upload), client_);
  if (!is_basic) {
    const auto etag = response.header("etag");
    if (!etag || etag->empty()) {
      core::fail(ErrorKind::kUnavailable,
                 {.what = "the store does not name the part it took (no ETag)",
                  .where = to_string(target_of(upload)) + " at " + shown_url(response.url)});
    }
    upload.etags[part.index] = *etag;
  }
  if (--upload.parts_left == 0 && !upload.address_expired) finish(upload);
}

void Uploader::finish(Upload& upload) {
  const UploadAction& action = upload.action;
  if (action.chunk_size > 0) {
    const HttpResponse response =
        client_.send({.method = "POST",
                      .url = action.href,
                      .headers = kLfsHeaders,
                      .body = completion_body(action.sha256, upload.etags),
                      .send_token = false,
                      .stall = kLongestSilence});
    if (!response.ok()) fail_push(response, target_of(upload), client_);
  }
  if (action.verify_href.empty()) return;
  std::vector<Header> headers = {{"Content-Type", "application/json"}};
  headers.insert(headers.end(), action.verify_headers.begin(), action.verify_headers.end());
  const HttpResponse response = client_.send({.method = "POST",
                                              .url = action.verify_href,
                                              .headers = headers,
                                              .body = verify_body(action)});
  if (response.ok()) return;
  if (response.status == 401 || response.status == 403) {
    fail_push(response, target_of(upload), client_);
  }
  core::fail(ErrorKind::kUnavailable,
             {.what = "the hub did not get the file whole: its check answers " +
                      std::to_string(response.status),
              .where = to_string(target_of(upload)),
              .hint = "push again"});
}

uint64_t Uploader::run(const std::vector<const LocalFile*>& files) {
  std::vector<const LocalFile*> left = files;
  uint64_t sent = 0;
  for (const bool is_last_round : {false, true}) {
    if (left.empty()) break;
    const auto uploads = wanted_uploads(left);
    std::vector<Part> parts;
    for (const auto& upload : uploads) {
      const size_t count = upload->parts_left;
      for (size_t i = 0; i < count; ++i) parts.push_back({upload.get(), i});
    }
    run_parallel(parts.size(), kParallelUploads, cancelled_,
                 [&](size_t i) { send_part(parts[i], is_last_round); });
    left.clear();
    for (const auto& upload : uploads) {
      if (upload->address_expired) {
        left.push_back(upload->file);
      } else {
        sent += upload->file->size;
      }
    }
  }
  return sent;
}

}  // namespace

uint64_t upload_large_files(const HttpClient& client, const HubTarget& target,
                            const std::string& branch, const std::vector<LocalFile>& files) {
  std::vector<const LocalFile*> different;  // of equal files one is sent
  std::set<std::string> seen;
  uint64_t total = 0;
  for (const LocalFile& file : files) {
    if (!seen.insert(file.oid).second) continue;
    different.push_back(&file);
    total += file.size;
  }
  return Uploader(client, target, branch, total).run(different);
}

}  // namespace hone::hub
