#include "trainer/run_file.h"

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"

namespace hone::trainer {
namespace {

using core::Json;

Json optional_number(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

}  // namespace

RunFile::RunFile(const std::filesystem::path& path, const Json& run_info,
                 const models::Model& model, const RankBytes& bytes, const parallel::Layout& layout)
    : path_(path), json_(run_info.is_object() ? run_info : Json::object()) {
  json_["layout"] = parallel::layout_to_json(layout);
  if (layout.dp_shard > 1) json_["layout"]["dp_shard_level"] = model.sharding.level;
  json_["num_parameters"] = models::num_parameters(model);
  json_["num_trainable"] = models::num_trainable(model);
  json_["param_bytes"] = bytes.parameters;
  json_["grad_bytes"] = bytes.gradients;
  json_["optimizer_bytes"] = bytes.optimizer;
  json_["activation_bytes"] = bytes.activations;
  json_["outcome"] = Json{{"status", "running"}};
  write();
}

void RunFile::set_startup_seconds(double seconds) {
  json_["startup_seconds"] = seconds;
  write();
}

void RunFile::set_measurements(const Json& seconds, const Json& throughput,
                               const std::vector<int64_t>& peak_bytes) {
  json_["seconds"] = seconds;
  json_["seconds"]["startup"] = json_.value("startup_seconds", 0.0);
  json_["memory"] = {{"peak_rss_bytes", peak_bytes.front()}, {"rank_peak_rss_bytes", peak_bytes}};
  json_["throughput"] = throughput;
  write();
}

void RunFile::add_save(const SaveTimes& times) {
  json_["saves"].push_back({{"step", times.step},
                            {"bytes", times.num_bytes},
                            {"seconds", times.seconds},
                            {"write_seconds", times.write_seconds},
                            {"hash_seconds", times.hash_seconds},
                            {"exposed_seconds", times.exposed_seconds}});
  write();
}

void RunFile::set_resume(int64_t num_bytes, double verify_seconds, double load_seconds) {
  json_["resume"] = {{"bytes", num_bytes},
                     {"seconds", verify_seconds + load_seconds},
                     {"verify_seconds", verify_seconds},
                     {"load_seconds", load_seconds}};
  write();
}

void RunFile::set_best(const Json& best) {
  json_["best"] = best;
  write();
}

void RunFile::set_pushes(const Json& pushes) {
  json_["checkpoint_pushes"] = pushes;
  write();
}

void RunFile::finish(const TrainResult& result) {
  json_["outcome"] = Json{{"status", result.stopped_by_signal ? "stopped" : "finished"},
                          {"step", result.step},
                          {"model_step", result.model_step},
                          {"stopped_early", result.stopped_early},
                          {"loss", result.last_loss},
                          {"first_eval_loss", optional_number(result.first_eval_loss)},
                          {"last_eval_loss", optional_number(result.last_eval_loss)}};
  write();
}

void RunFile::fail(int64_t step, const std::string& message) {
  json_["outcome"] = Json{{"status", "failed"}, {"step", step}, {"error", message}};
  try {
    write();
  } catch (const core::Error& error) {
    spdlog::warn("run.json does not tell of the failure: {}", error.what());
  }
}

void RunFile::write() const { core::write_file_atomic(path_, core::dump_json(json_)); }

}  // namespace hone::trainer
