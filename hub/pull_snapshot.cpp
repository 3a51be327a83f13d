#include "hub/pull_snapshot.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <mutex>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "hub/cache_repo.h"
#include "hub/parallel_jobs.h"
#include "hub/remote.h"

namespace hone::hub {
namespace fs = std::filesystem;
using core::ErrorKind;
namespace {

constexpr uint64_t kMaxReadBytes = uint64_t{64} << 20;
constexpr uint64_t kSpareBytes = uint64_t{16} << 20;  // left free on the disk

class Pull {
 public:
  Pull(const HttpClient& client, CacheRepo repo, HubTarget target, RepoTree tree,
       const PullSettings& settings)
      : client_(client),
        repo_(std::move(repo)),
        target_(std::move(target)),
        tree_(std::move(tree)),
        settings_(settings) {}

  // The content of one small file, which is fetched first.
  std::string read(const std::string& path) {
    const RemoteFile& file = listed(path);
    if (file.size > kMaxReadBytes) {
      core::fail(ErrorKind::kBadInput, {.what = "the file is too large to be what its name says",
                                        .where = path,
                                        .got = core::format_bytes(static_cast<double>(file.size))});
    }
    fetch({&file});
    return core::read_file(repo_.snapshot(tree_.commit) / path, kMaxReadBytes);
  }

  void fetch_paths(const std::vector<std::string>& paths) {
    std::vector<const RemoteFile*> files;
    for (const std::string& path : paths) files.push_back(&listed(path));
    fetch(files);
  }

  uint64_t downloaded_bytes() const { return downloaded_ + state_.network_bytes; }

 private:
  const RemoteFile& listed(const std::string& path) const {
    const RemoteFile* file = tree_.find(path);
    if (file != nullptr) return *file;
    HubTarget missing = target_;
    missing.file = path;
    core::fail(ErrorKind::kMissingInput,
               {.what = "the repository has no such file", .where = to_string(missing)});
  }

  // Whether the blob is good; its first use by us is when its content is looked at.
  bool is_there(const RemoteFile& file) const {
    const bool linked = repo_.has_file(tree_.commit, file);
    if (linked && !settings_.verify) return true;
    if (linked && has_content(repo_.snapshot(tree_.commit) / file.path, file)) return true;
    if (!has_content(repo_.blob(file.etag()), file)) return false;
    repo_.link_file(tree_.commit, file);
    return true;
  }

  void fetch(const std::vector<const RemoteFile*>& files) {
    std::vector<const RemoteFile*> missing;
    std::set<std::string> etags;  // two names of one content are one download
    for (const RemoteFile* file : files) {
      if (!is_there(*file)) missing.push_back(file);
    }
    if (missing.empty()) return;
    repo_.create();
    std::vector<const RemoteFile*> blobs;
    for (const RemoteFile* file : missing) {
      if (etags.insert(file->etag()).second) blobs.push_back(file);
    }
    check_space(blobs);
    download(blobs);
    for (const RemoteFile* file : missing) repo_.link_file(tree_.commit, *file);
  }

  void check_space(const std::vector<const RemoteFile*>& files) const {
    uint64_t needed = kSpareBytes;
    for (const RemoteFile* file : files) {
      struct stat status {};  // an unfinished download has some of its space already
      const bool is_started = ::stat(repo_.partial(file->etag()).c_str(), &status) == 0;
      const uint64_t held = is_started ? static_cast<uint64_t>(status.st_blocks) * 512 : 0;
      needed += file->size - std::min(file->size, held);
    }
    std::error_code error;
    const fs::space_info space = fs::space(repo_.folder(), error);
    if (error || space.available >= needed) return;
    core::fail(ErrorKind::kIo,
               {.what = "not enough space for the download",
                .where = repo_.folder().string(),
                .got = core::format_bytes(static_cast<double>(space.available)) + " free",
                .expected = core::format_bytes(static_cast<double>(needed)),
                .hint = "free some space, or choose another disk with HF_HUB_CACHE"});
  }

  // Small files several at a time, then the large ones in turn, each over all connections.
  void download(const std::vector<const RemoteFile*>& files) {
    start_progress(files);
    std::vector<const RemoteFile*> small, large;
    for (const RemoteFile* file : files) {
      (file->size > settings_.download.segment_bytes ? large : small).push_back(file);
    }
    std::atomic<bool> stop = false;
    run_parallel(small.size(), settings_.download.num_connections, stop,
                 [&](size_t i) { download_one(*small[i], stop); });
    for (const RemoteFile* file : large) download_one(*file, stop);
  }

  void download_one(const RemoteFile& file, std::atomic<bool>& stop) {
    HubTarget target = target_;
    target.file = file.path;
    const BlobDownload job{.url = file_url(client_, target_, tree_.commit, file.path),
                           .target = std::move(target),
                           .file = file,
                           .commit = tree_.commit,
                           .blob = repo_.blob(file.etag()),
                           .partial = repo_.partial(file.etag()),
                           .lock = repo_.lock(file.etag())};
    download_blob(client_, job, settings_.download, stop,
                  [this](int64_t bytes, bool by_network) { add_progress(bytes, by_network, 0); });
    add_progress(0, false, 1);
  }

  void start_progress(const std::vector<const RemoteFile*>& files) {
    downloaded_ += state_.network_bytes;
    state_ = {.num_files = files.size()};
    for (const RemoteFile* file : files) state_.total_bytes += file->size;
  }

  void add_progress(int64_t bytes, bool by_network, size_t files) {
    const std::scoped_lock lock(mutex_);
    state_.done_bytes += static_cast<uint64_t>(bytes);
    if (by_network) state_.network_bytes += static_cast<uint64_t>(bytes);
    state_.num_done += files;
    if (settings_.progress) settings_.progress(state_);
  }

  const HttpClient& client_;
  const CacheRepo repo_;
  const HubTarget target_;
  const RepoTree tree_;
  const PullSettings& settings_;
  std::mutex mutex_;
  PullState state_;
  uint64_t downloaded_ = 0;
};

// What other readers of the cache go by. A cache that can be read only still has the snapshot.
void keep_book(const CacheRepo& repo, const HubTarget& target, const RepoTree& tree) {
  try {
    repo.create();
    repo.write_tree(tree);
    for (const std::string& name : optional_model_files()) {
      if (target.kind == RepoKind::kModel && tree.find(name) == nullptr) {
        repo.mark_missing(tree.commit, name);
      }
    }
    repo.write_ref(target.revision, tree.commit);
  } catch (const core::Error& error) {
    spdlog::warn("the cache can't note what it holds: {}", error.what());
  }
}

}  // namespace

PulledSnapshot pull_snapshot(const HttpClient& client, const fs::path& cache,
                             const HubTarget& asked, const SelectFiles& select,
                             const PullSettings& settings) {
  HubTarget target = asked;
  if (target.revision.empty()) target.revision = "main";
  const CacheRepo repo(cache, target.kind, target.id);
  const std::string commit =
      settings.commit.empty() ? find_remote_commit(client, target) : settings.commit;
  std::optional<RepoTree> known = repo.read_tree(commit);
  const RepoTree tree = known ? std::move(*known) : list_remote_tree(client, target, commit);
  if (tree.files.empty()) {
    core::fail(ErrorKind::kMissingInput,
               {.what = "the repository is empty at this revision", .where = to_string(target)});
  }
  Pull pull(client, repo, target, tree, settings);
  PulledSnapshot result{.folder = repo.snapshot(commit), .commit = commit};
  result.files = select(tree.paths(), [&](const std::string& path) { return pull.read(path); });
  pull.fetch_paths(result.files);
  keep_book(repo, target, tree);
  result.downloaded_bytes = pull.downloaded_bytes();
  return result;
}

}  // namespace hone::hub
