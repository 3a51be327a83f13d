// A folder beside an output in which it is made and proved before it gets its name.
#pragma once

#include <filesystem>

namespace hone::recipes {

// ".NAME.unproved-XXXXXX" beside `output`, on the same file system; removed at the end with all
// that is still in it.
class Staging {
 public:
  // Throws kCannotCreate when `output` exists and is not an empty folder.
  explicit Staging(const std::filesystem::path& output);
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  ~Staging();
  std::filesystem::path operator/(const char* name) const { return path_ / name; }
  // Gives what is at `from` the output's name.
  void publish(const std::filesystem::path& from) const;

 private:
  std::filesystem::path output_, path_;
};

}  // namespace hone::recipes
