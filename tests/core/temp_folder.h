// A folder that is gone when the test ends.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "core/temporary_folder.h"

namespace hone::core {

class TempFolder {
 public:
  const std::filesystem::path& path() const { return folder_.path(); }
  std::filesystem::path operator/(const std::string& name) const { return path() / name; }
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path() / name).parent_path());
    std::ofstream(path() / name, std::ios::binary) << text;
    return path() / name;
  }

 private:
  TemporaryFolder folder_{std::filesystem::temp_directory_path(), "hone-test-"};
};

}  // namespace hone::core
