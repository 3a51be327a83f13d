// A folder of a new name that is gone, with all that is in it, when its owner is.
#pragma once

#include <filesystem>
#include <string>

namespace hone::core {

class TemporaryFolder {
 public:
  // "PARENT/PREFIX" and six letters. PARENT is made if it isn't there. Throws as fail_errno does.
  TemporaryFolder(const std::filesystem::path& parent, const std::string& prefix);
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  const std::filesystem::path& path() const { return path_; }
  void keep() { kept_ = true; }

 private:
  std::filesystem::path path_;
  bool kept_ = false;
};

}  // namespace hone::core
