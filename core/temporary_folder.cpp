#include "core/temporary_folder.h"

#include <stdlib.h>

#include <cerrno>

#include "core/error.h"
#include "core/files.h"

namespace hone::core {
namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder(const fs::path& parent, const std::string& prefix) {
  make_folders(parent);
  std::string name = (parent / (prefix + "XXXXXX")).string();
  if (::mkdtemp(name.data()) == nullptr)
    fail_errno("can't create a folder in", parent.string(), errno);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  if (!kept_) fs::remove_all(path_, ignored);
}

}  // namespace hone::core
