#include "trainer/checkpoint.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "trainer/pending_folder.h"
#include "trainer/state_files.h"

namespace hone::trainer {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kPrefix = "checkpoint-";

// The step of a folder name "checkpoint-N" without leading zeros, nullopt for every other name.
std::optional<int64_t> step_of_name(const std::string& name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const std::string digits = name.substr(kPrefix.size());
  int64_t step = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  if (error != std::errc{} || end != digits.data() + digits.size() ||
      std::to_string(step) != digits) {
    return std::nullopt;
  }
  return step;
}

// Renamed first, so that an interrupted deletion leaves a temporary folder and no damaged
// checkpoint.
void delete_checkpoint(const fs::path& path) {
  const fs::path doomed = path.string() + std::string(kTemporarySuffix);
  core::remove_tree(doomed);
  core::rename_durable(path, doomed);
  core::remove_tree(doomed);
}

bool is_stale(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  if (!name.ends_with(kTemporarySuffix)) return false;
  return entry.is_directory() ? name.starts_with(kPrefix) : name.starts_with(".");
}

}  // namespace

fs::path checkpoint_path(const fs::path& output_dir, int64_t step) {
  return output_dir / (std::string(kPrefix) + std::to_string(step));
}

Manifest verify_checkpoint(const fs::path& checkpoint) {
  if (!fs::is_directory(checkpoint)) {
    core::fail(core::ErrorKind::kMissingInput, {.what = "no such checkpoint", .where = checkpoint});
  }
  Manifest manifest = read_manifest(checkpoint);
  verify_files(checkpoint, manifest);
  return manifest;
}

std::optional<fs::path> find_resumable(const fs::path& output_dir,
                                       std::vector<std::string>* damaged) {
  auto checkpoints = list_checkpoints(output_dir);
  std::ranges::reverse(checkpoints);
  for (const auto& [step, path] : checkpoints) {
    try {
      verify_checkpoint(path);
      return path;
    } catch (const core::Error& error) {
      spdlog::warn("skipping damaged {}: {}", path.string(), error.what());
      if (damaged != nullptr) damaged->push_back(path.string() + ": " + error.what());
    }
  }
  return std::nullopt;
}

TrainerState load_checkpoint(const fs::path& checkpoint, models::Model& model,
                             OptimizerState& optimizer) {
  return read_state(checkpoint, model, optimizer);
}

std::vector<std::pair<int64_t, fs::path>> list_checkpoints(const fs::path& output_dir) {
  std::vector<std::pair<int64_t, fs::path>> checkpoints;
  if (!fs::is_directory(output_dir)) return checkpoints;
  for (const auto& entry : fs::directory_iterator(output_dir)) {
    const auto step = step_of_name(entry.path().filename().string());
    if (step && entry.is_directory()) checkpoints.emplace_back(*step, entry.path());
  }
  std::ranges::sort(checkpoints);
  return checkpoints;
}

void delete_old_checkpoints(const fs::path& output_dir, const fs::path& newest, int64_t limit,
                            const std::vector<fs::path>& protected_paths) {
  auto checkpoints = list_checkpoints(output_dir);
  if (limit <= 0 || static_cast<int64_t>(checkpoints.size()) <= limit) return;
  verify_checkpoint(newest);
  const int64_t newest_step = step_of_name(newest.filename().string()).value_or(0);
  std::ranges::stable_partition(checkpoints, [&](const auto& c) { return c.first > newest_step; });
  size_t num_left = checkpoints.size();
  for (const auto& [step, path] : checkpoints) {
    if (num_left <= static_cast<size_t>(limit)) break;
    if (step == newest_step || std::ranges::find(protected_paths, path) != protected_paths.end())
      continue;
    delete_checkpoint(path);
    --num_left;
  }
}

void remove_stale_temporaries(const fs::path& output_dir) {
  if (!fs::is_directory(output_dir)) return;
  std::vector<fs::path> stale;
  for (const auto& entry : fs::directory_iterator(output_dir)) {
    if (is_stale(entry)) stale.push_back(entry.path());
  }
  for (const fs::path& path : stale) core::remove_tree(path);
}

}  // namespace hone::trainer
