// The files of configs/hardware as the build found them, so that the program needs no folder.
#pragma once

#include <span>
#include <string_view>

namespace hone::recipes {

struct HardwareFile {
  std::string_view name, text;  // "h100"
};

std::span<const HardwareFile> hardware_files();

}  // namespace hone::recipes
