#include "hub/content.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <random>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"

namespace hone::hub {
namespace fs = std::filesystem;
namespace {

constexpr size_t kCopyBytes = size_t{4} << 20;
constexpr auto kKeepTemporary = std::chrono::hours(24);

class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags, const std::string& what)
      : value_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    if (value_ < 0) core::fail_errno(what, path.string(), errno);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(value_); }
  int get() const { return value_; }

 private:
  int value_;
};

void write_all(int descriptor, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      core::fail_errno("can't write", path.string(), errno);
    }
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

// Removes the temporary file unless it was renamed away.
struct TemporaryFile {
  fs::path path;
  ~TemporaryFile() { ::unlink(path.c_str()); }
};

}  // namespace

fs::path unique_name(const fs::path& folder) {
  std::random_device device;
  const uint64_t number = (uint64_t{device()} << 32) | device();
  return folder / (std::to_string(::getpid()) + "-" + std::to_string(number));
}

void sweep_temporary(const fs::path& folder) {
  std::error_code error;
  const auto limit = fs::file_time_type::clock::now() - kKeepTemporary;
  std::vector<fs::path> old;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    std::error_code ignored;
    const auto time = fs::last_write_time(entry.path(), ignored);
    if (!ignored && time < limit) old.push_back(entry.path());
  }
  for (const fs::path& path : old) fs::remove_all(path, error);
}

ContentStore::ContentStore(fs::path objects, fs::path temporary)
    : objects_(std::move(objects)), temporary_(std::move(temporary)) {}

fs::path ContentStore::path_of(const LargePointer& pointer) const {
  return objects_ / pointer.sha256.substr(0, 2) / pointer.sha256.substr(2, 2) / pointer.sha256;
}

bool ContentStore::has(const LargePointer& pointer) const {
  std::error_code error;
  const uint64_t size = fs::file_size(path_of(pointer), error);
  return !error && size == pointer.size;
}

LargePointer ContentStore::put_file(const fs::path& source, const std::string& name,
                                    const Progress& progress) {
  core::make_folders(temporary_);
  const TemporaryFile temporary{unique_name(temporary_)};
  const Descriptor in(source, O_RDONLY, "can't read");
  struct stat status {};
  if (::fstat(in.get(), &status) != 0) core::fail_errno("can't read", source.string(), errno);
  const uint64_t total = static_cast<uint64_t>(status.st_size);
  core::Sha256 hash;
  LargePointer pointer;
  {
    const Descriptor out(temporary.path, O_WRONLY | O_CREAT | O_EXCL, "can't create");
    std::vector<char> buffer(kCopyBytes);
    for (;;) {
      const ssize_t n = ::read(in.get(), buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) core::fail_errno("can't read", source.string(), errno);
      if (n == 0) break;
      const std::string_view bytes(buffer.data(), static_cast<size_t>(n));
      hash.update(bytes);
      write_all(out.get(), bytes, temporary.path);
      pointer.size += bytes.size();
      if (progress) progress(name, pointer.size, total);
    }
    if (pointer.size != total) {
      core::fail(core::ErrorKind::kIo, {.what = "the file changed while it was read",
                                        .where = source.string(),
                                        .got = std::to_string(pointer.size) + " bytes",
                                        .expected = std::to_string(total)});
    }
    if (::fsync(out.get()) != 0) core::fail_errno("can't sync", temporary.path.string(), errno);
  }
  pointer.sha256 = hash.hex();
  keep(temporary.path, pointer);
  return pointer;
}

LargePointer ContentStore::put_bytes(std::string_view bytes) {
  core::make_folders(temporary_);
  const TemporaryFile temporary{unique_name(temporary_)};
  LargePointer pointer{core::sha256_hex(bytes), bytes.size()};
  if (has(pointer)) return pointer;
  core::write_file_atomic(temporary.path, bytes);
  keep(temporary.path, pointer);
  return pointer;
}

void ContentStore::keep(const fs::path& temporary, const LargePointer& pointer) {
  if (has(pointer)) return;
  const fs::path path = path_of(pointer);
  core::make_folders(path.parent_path());
  // Snapshots share the object by hard links, so a stray write through one should be refused.
  ::chmod(temporary.c_str(), 0444);
  core::rename_durable(temporary, path);
  core::fsync_folder(path.parent_path().parent_path());
}

}  // namespace hone::hub
