// A folder beside an output in which it is made and proved before it gets its name.
#pragma once

#include <filesystem>

#include "core/temporary_folder.h"

namespace hone::recipes {

// ".NAME.unproved-XXXXXX" beside `output`, on the same file system; removed at the end with all
// that is still in it.
class Staging {
 public:
  // Throws kCannotCreate when `output` exists and is not an empty folder.
  explicit Staging(const std::filesystem::path& output);
  std::filesystem::path operator/(const char* name) const { return folder_.path() / name; }
  // Gives what is at `from` the output's name.
  void publish(const std::filesystem::path& from) const;

 private:
  std::filesystem::path output_;
  core::TemporaryFolder folder_;
};

}  // namespace hone::recipes
