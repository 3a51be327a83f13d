#include "recipes/run_reports.h"

#include "core/error.h"
#include "core/log.h"
#include "recipes/run_report.h"

namespace hone::recipes {
namespace {

using trainer::RunMoment;

formats::SessionStatus session_status(const std::filesystem::path& run_file) {
  const std::string status = core::read_json_file(run_file).at("outcome").at("status");
  if (status == "finished") return formats::SessionStatus::kSuccess;
  return status == "failed" ? formats::SessionStatus::kFailure : formats::SessionStatus::kUnknown;
}

}  // namespace

void RunReports::write_html() const {
  if (!recipe_.reports.html) return;
  const std::filesystem::path& output_dir = recipe_.train.output_dir;
  try {
    write_run_report(output_dir, output_dir / kReportFile);
  } catch (const std::exception& error) {
    spdlog::warn("{} is not up to date: {}", kReportFile, error.what());
  }
}

void RunReports::update(RunMoment moment) {
  if (moment != RunMoment::kRow) write_html();
  if (!recipe_.reports.tensorboard || tensorboard_failed_) return;
  try {
    update_tensorboard(moment);
  } catch (const std::exception& error) {
    tensorboard_failed_ = true;
    spdlog::warn("no more TensorBoard events of this run: {}", error.what());
  }
}

void RunReports::update_tensorboard(RunMoment moment) {
  const std::filesystem::path& output_dir = recipe_.train.output_dir;
  if (!tensorboard_)
    tensorboard_.emplace(output_dir, recipe_.reports.logging_dir, recipe_.resolved);
  if (moment != RunMoment::kEnded) return tensorboard_->follow();
  tensorboard_->finish(session_status(output_dir / "run.json"));
}

}  // namespace hone::recipes
