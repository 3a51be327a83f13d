// A folder that vanishes unless it is published.
#pragma once

#include <filesystem>
#include <string_view>

namespace hone::trainer {

inline constexpr std::string_view kTemporarySuffix = ".tmp";

class PendingFolder {
 public:
  explicit PendingFolder(std::filesystem::path path);  // made anew
  PendingFolder(const PendingFolder&) = delete;
  PendingFolder& operator=(const PendingFolder&) = delete;
  ~PendingFolder();
  const std::filesystem::path& path() const { return path_; }

  // Synced and renamed, in one step also where a folder of that name is replaced, if the file
  // system can.
  void publish(const std::filesystem::path& final_path);

 private:
  void replace(const std::filesystem::path& final_path);

  std::filesystem::path path_;
  bool published_ = false;
};

}  // namespace hone::trainer
