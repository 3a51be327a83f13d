#include "core/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <utility>

#include "core/error.h"
#include "core/write_file.h"

namespace hone::core {
namespace fs = std::filesystem;
namespace {

// Closes on scope exit; release() hands the descriptor over.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int get() const { return value_; }
  int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

fs::path temporary_name(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  return path.parent_path() / ("." + path.filename().string() + "." + std::to_string(::getpid()) +
                               "." + std::to_string(counter++) + ".tmp");
}

int open_for_writing(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) fail_errno("can't create", path, errno);
  return descriptor;
}

void fsync_path(const fs::path& path, int flags) {
  Descriptor d(::open(path.c_str(), flags | O_CLOEXEC));
  if (d.get() < 0) fail_errno("can't open", path, errno);
  if (::fsync(d.get()) != 0) fail_errno("can't sync", path, errno);
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

std::string read_file(const fs::path& path, uint64_t max_bytes) {
  Descriptor d(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (d.get() < 0) fail_errno("can't read", path, errno);
  struct stat status {};
  if (::fstat(d.get(), &status) != 0) fail_errno("can't read", path, errno);
  if (S_ISDIR(status.st_mode)) {
    fail(ErrorKind::kBadInput, {.what = "is a folder, not a file", .where = path});
  }
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = ::read(d.get(), buffer, sizeof buffer);
    if (n < 0) {
      if (errno == EINTR) continue;
      fail_errno("can't read", path, errno);
    }
    if (n == 0) return text;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > max_bytes) {
      fail(ErrorKind::kBadInput, {.what = "file is too large",
                                  .where = path,
                                  .got = "more than " + std::to_string(max_bytes) + " bytes",
                                  .expected = "at most " + std::to_string(max_bytes)});
    }
  }
}

void write_file_atomic(const fs::path& path, std::string_view bytes) {
  PendingFile file(path);
  file.write_at(0, std::as_bytes(std::span(bytes.data(), bytes.size())));
  file.commit();
}

void fsync_file(const fs::path& path) { fsync_path(path, O_RDONLY); }
void fsync_folder(const fs::path& path) { fsync_path(path, O_RDONLY | O_DIRECTORY); }

void make_folders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail_errno("can't create folder", path, error.value());
}

void rename_durable(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail_errno("can't rename to", to, errno);
  fsync_folder(folder_of(to));
}

void copy_file_durable(const fs::path& from, const fs::path& to) {
  const MappedFile source(from);
  PendingFile target(to);
  target.write_at(0, source.bytes());
  target.commit();
}

void remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) fail_errno("can't remove", path, error.value());
}

bool is_safe_relative_path(std::string_view name) {
  if (name.empty() || name.front() == '/' || name.back() == '/') return false;
  if (name.find('\\') != std::string_view::npos || name.find('\0') != std::string_view::npos)
    return false;
  while (!name.empty()) {
    const size_t slash = name.find('/');
    const std::string_view part = name.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    name = slash == std::string_view::npos ? std::string_view{} : name.substr(slash + 1);
  }
  return true;
}

MappedFile::MappedFile(const fs::path& path) {
  Descriptor d(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (d.get() < 0) fail_errno("can't read", path, errno);
  struct stat status {};
  if (::fstat(d.get(), &status) != 0) fail_errno("can't read", path, errno);
  if (!S_ISREG(status.st_mode))
    fail(ErrorKind::kBadInput, {.what = "is not a file", .where = path});
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, d.get(), 0);
  if (address == MAP_FAILED) fail_errno("can't map", path, errno);
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

ReadFile::ReadFile(const fs::path& path)
    : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (descriptor_ < 0) fail_errno("can't read", path, errno);
}

ReadFile::ReadFile(ReadFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

ReadFile& ReadFile::operator=(ReadFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

ReadFile::~ReadFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void ReadFile::read_at(uint64_t offset, std::span<std::byte> to) const {
  while (!to.empty()) {
    const ssize_t n = ::pread(descriptor_, to.data(), to.size(), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      fail_errno("can't read", path_, errno);
    }
    if (n == 0) {
      fail(ErrorKind::kIo, {.what = "the file has become shorter while it was read",
                            .where = path_,
                            .expected = std::to_string(to.size()) + " more bytes at offset " +
                                        std::to_string(offset)});
    }
    offset += static_cast<uint64_t>(n);
    to = to.subspan(static_cast<size_t>(n));
  }
}

PendingFile::PendingFile(const fs::path& final_path, uint64_t size)
    : final_path_(final_path), temporary_path_(temporary_name(final_path)) {
  Descriptor d(open_for_writing(temporary_path_));
  if (size > 0) {
    // Reserving now turns a disk that is too small into an error before anything is written.
    const int error = ::posix_fallocate(d.get(), 0, static_cast<off_t>(size));
    if (error != 0 && error != EOPNOTSUPP && error != EINVAL) {
      ::unlink(temporary_path_.c_str());
      fail_errno("can't reserve " + std::to_string(size) + " bytes for", final_path_, error);
    }
  }
  descriptor_ = d.release();
}

PendingFile::PendingFile(PendingFile&& other) noexcept
    : final_path_(std::move(other.final_path_)),
      temporary_path_(std::move(other.temporary_path_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

PendingFile::~PendingFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_path_.c_str());
}

void PendingFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  write_fully(descriptor_, offset, bytes, final_path_);
}

void PendingFile::commit() {
  if (::fsync(descriptor_) != 0) fail_errno("can't sync", final_path_, errno);
  if (::close(std::exchange(descriptor_, -1)) != 0) {
    const int error = errno;
    ::unlink(temporary_path_.c_str());
    fail_errno("can't close", final_path_, error);
  }
  if (::rename(temporary_path_.c_str(), final_path_.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary_path_.c_str());
    fail_errno("can't rename to", final_path_, error);
  }
  fsync_folder(folder_of(final_path_));
}

}  // namespace hone::core
