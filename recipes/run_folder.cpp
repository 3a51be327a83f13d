#include "recipes/run_folder.h"

#include "core/error.h"
#include "launch/job.h"

namespace hone::recipes {

namespace fs = std::filesystem;

void require_empty_run_folder(const fs::path& output_dir) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(output_dir, error)) {
    const std::string name = entry.path().filename();
    if (name == launch::kLaunchFolder || name == "flight-record") continue;
    core::fail(core::ErrorKind::kCannotCreate,
               {.what = "the output folder is not empty",
                .where = output_dir.string(),
                .hint = "--resume goes on from its newest checkpoint, --overwrite starts over"});
  }
}

}  // namespace hone::recipes
