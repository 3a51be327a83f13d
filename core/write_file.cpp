#include "core/write_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/error.h"

namespace hone::core {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxPiece = size_t{1} << 30;  // some systems refuse writes of 2 GiB and more

}  // namespace

void write_fully(int descriptor, uint64_t offset, std::span<const std::byte> bytes,
                 const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(descriptor, bytes.data(), std::min(bytes.size(), kMaxPiece),
                               static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_errno("can't write", path, n < 0 ? errno : ENOSPC);
    offset += static_cast<uint64_t>(n);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

WriteFile::WriteFile(const fs::path& path)
    : path_(path), descriptor_(::open(path.c_str(), O_WRONLY | O_CLOEXEC)) {
  if (descriptor_ < 0) fail_errno("can't open for writing", path, errno);
}

WriteFile::WriteFile(WriteFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

WriteFile& WriteFile::operator=(WriteFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

WriteFile::~WriteFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

uint64_t WriteFile::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail_errno("can't read the size", path_, errno);
  return static_cast<uint64_t>(status.st_size);
}

void WriteFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  write_fully(descriptor_, offset, bytes, path_);
}

void WriteFile::sync() {
  if (::fsync(descriptor_) != 0) fail_errno("can't sync", path_, errno);
}

void create_sparse_file(const fs::path& path, uint64_t size) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) fail_errno("can't create", path, errno);
  int error = ::ftruncate(descriptor, static_cast<off_t>(size)) == 0 ? 0 : errno;
  if (::close(descriptor) != 0 && error == 0) error = errno;
  if (error == 0) return;
  ::unlink(path.c_str());
  fail_errno("can't make a file of " + std::to_string(size) + " bytes", path, error);
}

}  // namespace hone::core
