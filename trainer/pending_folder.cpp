#include "trainer/pending_folder.h"

#include <fcntl.h>
#include <stdio.h>

#include <string>
#include <system_error>

#include "core/files.h"

namespace hone::trainer {
namespace fs = std::filesystem;

PendingFolder::PendingFolder(fs::path path) : path_(std::move(path)) {
  core::remove_tree(path_);
  core::make_folders(path_);
}

PendingFolder::~PendingFolder() {
  std::error_code ignored;  // the error that led here is the one to report
  if (!published_) fs::remove_all(path_, ignored);
}

void PendingFolder::publish(const fs::path& final_path) {
  core::fsync_folder(path_);
  if (fs::exists(final_path)) {
    replace(final_path);
  } else {
    core::rename_durable(path_, final_path);
    published_ = true;
  }
}

// Swaps the two folders in one step where the file system can; what path_ then holds is removed
// with this object.
void PendingFolder::replace(const fs::path& final_path) {
  if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, final_path.c_str(), RENAME_EXCHANGE) == 0) {
    core::fsync_folder(final_path.parent_path());
    return;
  }
  const fs::path replaced = final_path.string() + ".old" + std::string(kTemporarySuffix);
  core::remove_tree(replaced);
  core::rename_durable(final_path, replaced);
  core::rename_durable(path_, final_path);
  published_ = true;
  core::remove_tree(replaced);
}

}  // namespace hone::trainer
