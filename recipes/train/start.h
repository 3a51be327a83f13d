// How a run begins: in an empty folder, over an old run, or from a checkpoint.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace hone::recipes {

struct StartOptions {
  std::filesystem::path output_dir;
  bool resume = false;
  std::string resume_path;  // "": the newest valid checkpoint of output_dir
  bool overwrite = false;
};

// Returns the checkpoint to go on from, if any; warns when --resume finds none. Throws
// kCannotCreate for an output folder that holds files and is neither resumed nor overwritten, or
// can't be written; kMissingInput and kBadInput for a
// --resume PATH that is not a whole checkpoint; kUsage for --resume with --overwrite.
std::optional<std::filesystem::path> choose_start(const StartOptions& options);

// Removes what an earlier run left in the folder: checkpoints, model files, metrics, card. Other
// files stay.
void remove_old_run(const std::filesystem::path& output_dir);

}  // namespace hone::recipes
