#include "recipes/train/start.h"

#include <spdlog/spdlog.h>

#include "core/error.h"
#include "core/files.h"
#include "hub/push.h"
#include "recipes/run_folder.h"
#include "trainer/checkpoint.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;

// A full disk or a read-only folder is better found now than at the first checkpoint.
void check_writable(const fs::path& folder) {
  core::make_folders(folder);
  const core::PendingFile probe(fs::absolute(folder) / "probe");
}

bool belongs_to_run(const std::string& name) {
  if (name.starts_with("checkpoint-")) return true;
  for (const char* file : {"ledger.jsonl", "trace.json", "tensorboard", "flight-record"}) {
    if (name == file) return true;
  }
  for (const auto* patterns : {&hub::model_file_patterns(), &hub::document_file_patterns()}) {
    for (const std::string& pattern : *patterns) {
      if (hub::matches_pattern(name, pattern)) return true;
    }
  }
  return false;
}

}  // namespace

std::optional<fs::path> choose_start(const StartOptions& options) {
  if (options.resume && options.overwrite) {
    core::fail(ErrorKind::kUsage, {.what = "--resume and --overwrite exclude each other"});
  }
  if (!options.resume_path.empty()) {
    if (!fs::is_directory(options.resume_path)) {
      core::fail(ErrorKind::kMissingInput,
                 {.what = "no such checkpoint folder", .where = options.resume_path});
    }
    trainer::verify_checkpoint(options.resume_path);
    check_writable(options.output_dir);
    return options.resume_path;
  }
  if (!options.resume && !options.overwrite) require_empty_run_folder(options.output_dir);
  std::optional<fs::path> checkpoint;
  if (options.resume) {
    if (fs::is_directory(options.output_dir))
      checkpoint = trainer::find_resumable(options.output_dir);
    if (!checkpoint)
      spdlog::warn("no checkpoint to resume in {}: starting fresh", options.output_dir.string());
  }
  check_writable(options.output_dir);
  return checkpoint;
}

void remove_old_run(const fs::path& output_dir) {
  if (!fs::is_directory(output_dir)) return;
  for (const std::string& name : hub::folder_entries(output_dir)) {
    if (belongs_to_run(name)) core::remove_tree(output_dir / name);
  }
}

}  // namespace hone::recipes
