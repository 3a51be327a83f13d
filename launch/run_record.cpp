#include "launch/run_record.h"

#include "core/environment.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "launch/job.h"
#include "launch/process.h"

namespace hone::launch {
namespace {

namespace fs = std::filesystem;
using core::Json;

constexpr int kVersion = 1;

fs::path record_file(const fs::path& output_dir) {
  return launch_folder(output_dir) / "record.json";
}

RunRecord record_of(const Json& json) {
  RunRecord r;
  r.launcher = json.at("launcher") == "slurm" ? Launcher::kSlurm : Launcher::kMpirun;
  r.job_id = json.at("job_id").get<std::string>();
  r.pid = json.at("pid").get<pid_t>();
  r.pid_start = json.at("pid_start").get<int64_t>();
  r.host = json.at("host").get<std::string>();
  r.log = json.at("log").get<std::string>();
  r.command = json.at("command").get<std::string>();
  r.cluster = json.at("cluster").get<std::string>();
  r.started = json.at("started").get<std::string>();
  r.ended = json.at("ended").get<std::string>();
  r.ranks = json.at("ranks").get<int64_t>();
  r.restarts = json.at("restarts").get<int64_t>();
  if (!json.at("exit_code").is_null()) r.exit_code = json.at("exit_code").get<int>();
  r.points = json.at("points").get<std::vector<std::string>>();
  return r;
}

}  // namespace

void write_record(const fs::path& output_dir, const RunRecord& r) {
  const Json json = {
      {"version", kVersion},      {"launcher", r.launcher == Launcher::kSlurm ? "slurm" : "mpirun"},
      {"job_id", r.job_id},       {"pid", r.pid},
      {"pid_start", r.pid_start}, {"host", r.host},
      {"ranks", r.ranks},         {"log", r.log},
      {"command", r.command},     {"cluster", r.cluster},
      {"started", r.started},     {"ended", r.ended},
      {"restarts", r.restarts},   {"exit_code", r.exit_code ? Json(*r.exit_code) : Json(nullptr)},
      {"points", r.points}};
  core::make_folders(launch_folder(output_dir));
  core::write_file_atomic(record_file(output_dir), core::dump_json(json));
}

std::optional<RunRecord> read_record(const fs::path& output_dir) {
  const fs::path file = record_file(output_dir);
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::nullopt;
  const Json json = core::read_json_file(file);
  try {
    if (json.at("version") != kVersion) {
      core::fail(core::ErrorKind::kBadInput, {.what = "written by another version of hone",
                                              .where = file.string(),
                                              .got = json.at("version").dump(),
                                              .expected = std::to_string(kVersion)});
    }
    return record_of(json);
  } catch (const Json::exception& e) {
    core::fail(core::ErrorKind::kBadInput, {.what = "no record of a launched run",
                                            .where = file.string(),
                                            .got = e.what(),
                                            .hint = "remove it when nothing runs there"});
  }
}

bool runs_here(const RunRecord& record) {
  return record.launcher == Launcher::kMpirun && record.host == core::host_name() &&
         process_lives(record.pid, record.pid_start);
}

}  // namespace hone::launch
