#include "trainer/metrics.h"

#include <algorithm>

namespace hone::trainer {
namespace {

using core::Json;

bool stays(const Json& row, const ResumePoint& resume) {
  const int64_t step = row.at("step").get<int64_t>();
  if (step != resume.step) return step < resume.step;
  return row.contains("eval_loss") ? resume.keep_eval_row : resume.keep_train_row;
}

Json axes_json(const std::vector<AxisCommunication>& axes) {
  Json json = Json::object();
  for (const AxisCommunication& axis : axes) {
    json[axis.axis] = {{"bytes", axis.num_bytes}, {"exposed_seconds", axis.exposed_seconds}};
  }
  return json;
}

}  // namespace

std::string train_row_json(const TrainRow& row) {
  Json json;
  json["step"] = row.step;
  json["loss"] = row.loss;
  json["learning_rate"] = row.learning_rate;
  json["grad_norm"] = row.grad_norm;
  json["tokens"] = row.num_tokens;
  json["tokens_per_second"] = row.tokens_per_second;
  json["flops_share"] = row.flops_share;
  if (!row.datasets.is_null()) json["datasets"] = row.datasets;
  if (row.communication) {
    json["comm_bytes"] = row.communication->num_bytes;
    json["exposed_comm_seconds"] = row.communication->exposed_seconds;
    json["communication"] = axes_json(row.communication->axes);
  }
  return json.dump();
}

std::string eval_row_json(int64_t step, double eval_loss, const core::Json& datasets) {
  Json json;
  json["step"] = step;
  json["eval_loss"] = eval_loss;
  if (!datasets.is_null()) json["eval_datasets"] = datasets;
  return json.dump();
}

MetricsFile::MetricsFile(const std::filesystem::path& path,
                         const std::optional<ResumePoint>& resume)
    : file_(
          path, !resume ? JsonlFile::Keep() : [&](const Json& row) {
            if (!stays(row, *resume)) return false;
            if (row.contains("eval_loss")) eval_rows_.push_back(row);
            return true;
          }) {}

void MetricsFile::append(const std::string& row_json) { file_.append(row_json + "\n"); }

void MetricsFile::sync() { file_.sync(); }

const Json* MetricsFile::eval_row(int64_t step) const {
  const auto found =
      std::ranges::find_if(eval_rows_, [&](const Json& row) { return row["step"] == step; });
  return found == eval_rows_.end() ? nullptr : &*found;
}

}  // namespace hone::trainer
