#include "hub/partial_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "hub/content.h"

namespace hone::hub {
namespace fs = std::filesystem;

PartialFile::PartialFile(fs::path path, uint64_t size, uint64_t block_bytes)
    : path_(std::move(path)), size_(size), block_bytes_(block_bytes) {
  marks_.assign((size_ + block_bytes_ - 1) / block_bytes_, 0);
  if (!open_locked(path_)) {
    path_ = unique_name(path_.parent_path());
    is_shared_ = false;
    if (!open_locked(path_)) core::fail_errno("can't lock", path_.string(), errno);
  }
  load_marks();
}

PartialFile::~PartialFile() {
  if (descriptor_ < 0) return;
  if (!is_shared_) ::unlink(path_.c_str());
  ::close(descriptor_);
}

// False when another process holds it. The name may be renamed away between opening and locking.
bool PartialFile::open_locked(const fs::path& path) {
  while (true) {
    descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (descriptor_ < 0) core::fail_errno("can't write", path.string(), errno);
    struct stat opened {
    }, named{};
    const bool locked = ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0;
    const bool same = locked && ::fstat(descriptor_, &opened) == 0 &&
                      ::stat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
                      opened.st_dev == named.st_dev;
    if (same) return true;
    ::close(std::exchange(descriptor_, -1));
    if (!locked) return false;
  }
}

void PartialFile::load_marks() {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    core::fail_errno("can't look at", path_.string(), errno);
  }
  const uint64_t whole = size_ + marks_.size();
  if (static_cast<uint64_t>(status.st_size) != whole) {
    if (::ftruncate(descriptor_, 0) != 0 ||
        ::ftruncate(descriptor_, static_cast<off_t>(whole)) != 0) {
      core::fail_errno("can't make " + std::to_string(whole) + " bytes long", path_.string(),
                       errno);
    }
    return;
  }
  const ssize_t n = ::pread(descriptor_, marks_.data(), marks_.size(), static_cast<off_t>(size_));
  if (n != static_cast<ssize_t>(marks_.size())) std::fill(marks_.begin(), marks_.end(), 0);
}

uint64_t PartialFile::arrived() const {
  uint64_t bytes = 0;
  for (size_t i = 0; i < marks_.size(); ++i) {
    if (marks_[i] == 1) bytes += std::min(block_bytes_, size_ - i * block_bytes_);
  }
  return bytes;
}

std::vector<ByteRange> PartialFile::missing(uint64_t max_bytes) const {
  std::vector<ByteRange> ranges;
  for (size_t i = 0; i < marks_.size(); ++i) {
    if (marks_[i] == 1) continue;
    const uint64_t begin = i * block_bytes_, end = std::min(size_, begin + block_bytes_);
    const bool goes_on =
        !ranges.empty() && ranges.back().end == begin && end - ranges.back().begin <= max_bytes;
    if (goes_on) {
      ranges.back().end = end;
    } else {
      ranges.push_back({begin, end});
    }
  }
  return ranges;
}

void PartialFile::write_fully(uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) core::fail_errno("can't write", path_.string(), errno);
    offset += static_cast<uint64_t>(n);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

void PartialFile::write_at(uint64_t offset, std::string_view bytes) {
  if (offset + bytes.size() > size_) {
    core::fail(core::ErrorKind::kInternal,
               {.what = "a piece beyond the end of the file", .where = path_.string()});
  }
  write_fully(offset, bytes);
}

uint64_t PartialFile::mark(uint64_t begin, uint64_t end) {
  const size_t first = (begin + block_bytes_ - 1) / block_bytes_;
  const size_t last = end == size_ ? marks_.size() : end / block_bytes_;
  if (first >= last) return begin;
  std::fill(marks_.begin() + static_cast<ptrdiff_t>(first),
            marks_.begin() + static_cast<ptrdiff_t>(last), 1);
  write_fully(size_ + first, std::string_view(&marks_[first], last - first));
  return std::min(size_, last * block_bytes_);
}

void PartialFile::forget_all() {
  std::fill(marks_.begin(), marks_.end(), 0);
  write_fully(size_, std::string_view(marks_.data(), marks_.size()));
}

void PartialFile::finish(const fs::path& target) {
  if (::ftruncate(descriptor_, static_cast<off_t>(size_)) != 0 || ::fsync(descriptor_) != 0) {
    core::fail_errno("can't sync", path_.string(), errno);
  }
  core::rename_durable(path_, target);
  ::close(std::exchange(descriptor_, -1));
}

void PartialFile::remove() {
  ::unlink(path_.c_str());
  ::close(std::exchange(descriptor_, -1));
}

}  // namespace hone::hub
