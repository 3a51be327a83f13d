#include "hub/download.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/text.h"
#include "hub/parallel_jobs.h"
#include "hub/partial_file.h"
#include "hub/url.h"

namespace hone::hub {
namespace fs = std::filesystem;
using core::ErrorKind;
using std::chrono::seconds;
namespace {

// The answer to a range was the whole file.
struct RangesUnsupported {};
// Another thread has failed, or the caller gave up.
struct Stopped {};

class BlobLock {
 public:
  BlobLock(const fs::path& path, const std::string& what)
      : descriptor_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644)) {
    if (descriptor_ < 0) core::fail_errno("can't open the lock", path.string(), errno);
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
    spdlog::info("waiting for another process that downloads {}", what);
    while (::flock(descriptor_, LOCK_EX) != 0) {
      if (errno == EINTR) continue;
      const int error = errno;
      ::close(descriptor_);
      // A file system without locks: the content is safe all the same, by its own name and rename.
      if (error == ENOLCK || error == EOPNOTSUPP) {
        descriptor_ = -1;
        return;
      }
      core::fail_errno("can't lock", path.string(), error);
    }
  }
  BlobLock(const BlobLock&) = delete;
  BlobLock& operator=(const BlobLock&) = delete;
  ~BlobLock() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

 private:
  int descriptor_;
};

bool has_hash(std::string_view content, const RemoteFile& file) {
  return file.sha256.empty() ? core::git_blob_sha1(content) == file.blob_id
                             : core::sha256_hex(content) == file.sha256;
}

uint64_t number_at(std::string_view text, size_t at) {
  uint64_t number = UINT64_MAX;
  if (at < text.size()) std::from_chars(text.data() + at, text.data() + text.size(), number);
  return number;
}

// Fetches one piece of the file, from where it stands to its end, over as many requests as it
// takes.
class Segment {
 public:
  Segment(const HttpClient& client, const BlobDownload& download, PartialFile& partial,
          ByteRange range, std::function<bool()> is_stopped, const BytesArrived& arrived)
      : client_(client),
        download_(download),
        partial_(partial),
        range_(range),
        at_(range.begin),
        marked_to_(range.begin),
        is_stopped_(std::move(is_stopped)),
        arrived_(arrived) {}

  void fetch() {
    for (int failures = 0; at_ < range_.end;) {
      const uint64_t before = at_;
      const HttpResponse response = client_.send_once(request());
      if (is_stopped_()) throw Stopped();
      if (response.error.empty() && !is_retryable(response)) check_status(response);
      if (at_ >= range_.end) return;
      failures = at_ > before && !restarted_ ? 1 : failures + 1;
      wait(failures, response);
    }
  }

 private:
  bool is_whole_file() const { return range_.begin == 0 && range_.end == partial_.size(); }

  HttpRequest request() {
    HttpRequest request{.url = download_.url};
    if (at_ > 0 || !is_whole_file()) {
      request.headers.emplace_back(
          "Range", "bytes=" + std::to_string(at_) + "-" + std::to_string(range_.end - 1));
    }
    request.on_head = [this](const HttpResponse& head) { check_head(head); };
    request.sink = [this](std::string_view bytes) { take(bytes); };
    request.is_cancelled = is_stopped_;
    return request;
  }

  [[noreturn]] void fail_size(const std::string& got) const {
    core::fail(ErrorKind::kBadInput, {.what = "the hub sends another size than it lists",
                                      .where = to_string(download_.target),
                                      .got = got,
                                      .expected = std::to_string(partial_.size()) + " bytes"});
  }

  void check_head(const HttpResponse& head) {
    const auto commit = head.header("x-repo-commit");
    if (commit && *commit != download_.commit) {
      core::fail(ErrorKind::kUnavailable, {.what = "the hub answers with another commit",
                                           .where = to_string(download_.target),
                                           .got = core::excerpt(*commit),
                                           .expected = download_.commit});
    }
    if (head.status == 206) {
      check_range(head.header("content-range").value_or(""));
      return;
    }
    if (!is_whole_file()) throw RangesUnsupported();
    const auto length = head.header("content-length");
    if (length && !head.header("content-encoding") && number_at(*length, 0) != partial_.size()) {
      fail_size(*length);
    }
    if (at_ > 0) restart();
  }

  // "bytes 100-199/1000"
  void check_range(const std::string& range) const {
    const size_t slash = range.find('/');
    const uint64_t begin = number_at(range, range.find_first_of("0123456789"));
    if (begin != at_) {
      core::fail(ErrorKind::kUnavailable, {.what = "the hub sends another range than asked",
                                           .where = to_string(download_.target),
                                           .got = core::excerpt(range),
                                           .expected = "bytes from " + std::to_string(at_)});
    }
    if (slash == std::string::npos || range.substr(slash + 1) == "*") return;
    if (number_at(range, slash + 1) != partial_.size()) fail_size(range.substr(slash + 1));
  }

  // 200 to a request for a range: everything comes again.
  void restart() {
    restarted_ = true;
    arrived_(-static_cast<int64_t>(at_), false);
    partial_.forget_all();
    at_ = marked_to_ = 0;
  }

  void take(std::string_view bytes) {
    if (bytes.size() > range_.end - at_) fail_size("more");
    partial_.write_at(at_, bytes);
    marked_to_ = partial_.mark(marked_to_, at_ + bytes.size());
    at_ += bytes.size();
    arrived_(static_cast<int64_t>(bytes.size()), true);
  }

  void check_status(const HttpResponse& response) const {
    if (response.ok() || at_ >= range_.end) return;
    if (response.status == 416) throw RangesUnsupported();
    fail_response(response, download_.target, client_);
  }

  void wait(int failures, const HttpResponse& response) const {
    const auto delay = retry_delay(failures, response);
    if (failures > client_.config().max_retries || !delay) {
      if (response.error.empty() && !response.ok()) {
        fail_response(response, download_.target, client_);
      }
      core::fail(ErrorKind::kUnavailable,
                 {.what = "the download broke off: " +
                          (response.error.empty() ? "the body ended early" : response.error),
                  .where = to_string(download_.target) + " at " + shown_url(response.url),
                  .hint = "start again: what has come is kept"});
    }
    client_.sleep(*delay);
  }

  const HttpClient& client_;
  const BlobDownload& download_;
  PartialFile& partial_;
  const ByteRange range_;
  uint64_t at_, marked_to_;
  bool restarted_ = false;
  const std::function<bool()> is_stopped_;
  const BytesArrived& arrived_;
};

// Everything that is missing, in ranges; or all of it in one piece where a hub has no ranges.
void fetch_missing(const HttpClient& client, const BlobDownload& download, PartialFile& partial,
                   const DownloadSettings& settings, const std::atomic<bool>& stop,
                   const BytesArrived& arrived) {
  std::atomic<int64_t> counted = static_cast<int64_t>(partial.arrived());
  const BytesArrived count = [&](int64_t bytes, bool by_network) {
    counted += bytes;
    arrived(bytes, by_network);
  };
  arrived(counted, false);
  try {
    const std::vector<ByteRange> ranges = partial.missing(settings.segment_bytes);
    std::atomic<bool> own_stop = false;
    run_parallel(ranges.size(), settings.num_connections, own_stop, [&](size_t i) {
      Segment(
          client, download, partial, ranges[i], [&] { return own_stop || stop; }, count)
          .fetch();
    });
  } catch (const RangesUnsupported&) {
    arrived(-counted, false);
    partial.forget_all();
    Segment(
        client, download, partial, {0, partial.size()}, [&] { return stop.load(); }, arrived)
        .fetch();
  }
}

}  // namespace

bool has_content(const fs::path& path, const RemoteFile& file) {
  std::error_code error;
  if (!fs::is_regular_file(path, error) || fs::file_size(path, error) != file.size || error) {
    return false;
  }
  return has_hash(core::MappedFile(path).text(), file);
}

void download_blob(const HttpClient& client, const BlobDownload& download,
                   const DownloadSettings& settings, std::atomic<bool>& stop,
                   const BytesArrived& arrived) {
  const RemoteFile& file = download.file;
  const BlobLock lock(download.lock, file.path);
  if (has_content(download.blob, file)) {  // another process was faster
    arrived(static_cast<int64_t>(file.size), false);
    return;
  }
  for (int attempt = 1; attempt <= 2; ++attempt) {
    PartialFile partial(download.partial, file.size, settings.block_bytes);
    fetch_missing(client, download, partial, settings, stop, arrived);
    if (has_hash(core::MappedFile(partial.path()).text().substr(0, file.size), file)) {
      partial.finish(download.blob);
      return;
    }
    partial.remove();
    arrived(-static_cast<int64_t>(file.size), false);
    spdlog::warn("{}: the content has the wrong hash{}", to_string(download.target),
                 attempt == 1 ? ": deleted, fetching it again" : "");
  }
  core::fail(ErrorKind::kBadInput,
             {.what = "the content has the wrong hash, twice",
              .where = to_string(download.target) + " at " + shown_url(download.url),
              .expected = (file.sha256.empty() ? "git blob " : "sha256 ") + file.etag(),
              .hint = "what the hub sends is not what it lists: tell its owner"});
}

}  // namespace hone::hub
