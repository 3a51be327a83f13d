// A run that `hone launch` started: how it stands, what it said, and its end.
#pragma once

#include <filesystem>
#include <string>

namespace hone::recipes {

// The output folder of RUN, which is one, or a recipe whose output_dir it is. Throws kMissingInput.
std::filesystem::path run_folder_of(const std::string& run);

// Print to stdout and return the exit code of the verb. All throw kMissingInput when nothing was
// launched into the folder, kUnavailable when who runs it can't be asked.
int show_status(const std::filesystem::path& output_dir);
// `follow`: until the run has ended.
int show_logs(const std::filesystem::path& output_dir, bool follow);
// `now`: without waiting for a checkpoint.
int cancel_run(const std::filesystem::path& output_dir, bool now);

// Throws kCannotCreate while a launched run goes on in the folder.
void require_no_running(const std::filesystem::path& output_dir);

}  // namespace hone::recipes
