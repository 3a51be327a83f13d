// Holds flock(2) on a file until it goes out of scope. The kernel releases it when a process dies.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "core/error.h"

namespace hone::hub {

class RepoLock {
 public:
  explicit RepoLock(const std::filesystem::path& path)
      : descriptor_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (descriptor_ < 0) core::fail_errno("can't open the lock", path.string(), errno);
    while (::flock(descriptor_, LOCK_EX) != 0) {
      if (errno == EINTR) continue;
      const int error = errno;
      ::close(descriptor_);
      core::fail_errno("can't lock", path.string(), error);
    }
  }
  RepoLock(const RepoLock&) = delete;
  RepoLock& operator=(const RepoLock&) = delete;
  ~RepoLock() { ::close(descriptor_); }

 private:
  int descriptor_;
};

}  // namespace hone::hub
