// The output folder of a run before it begins.
#pragma once

#include <filesystem>

namespace hone::recipes {

// Throws kCannotCreate for a folder that holds more than what launching made, or what a
// run that never began has left of its end.
void require_empty_run_folder(const std::filesystem::path& output_dir);

}  // namespace hone::recipes
