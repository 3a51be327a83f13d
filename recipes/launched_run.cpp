#include "recipes/launched_run.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>
#include <thread>

#include "core/environment.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "launch/job.h"
#include "launch/run_record.h"
#include "launch/slurm.h"
#include "recipes/recipe.h"
#include "recipes/run_rows.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;
using core::Json;
using launch::JobState;
using launch::Launcher;
using launch::RunRecord;

RunRecord record_of(const fs::path& output_dir) {
  auto record = launch::read_record(output_dir);
  if (!record) {
    core::fail(ErrorKind::kMissingInput,
               {.what = "nothing was launched into this folder",
                .where = output_dir.string(),
                .expected = "the output_dir of a run that hone launch started"});
  }
  return std::move(*record);
}

bool is_over(const JobState& job) {
  for (const char* state : {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED",
                            "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "STOPPED", "PREEMPTED"}) {
    if (job.state == state) return false;
  }
  return true;
}

bool is_over(const RunRecord& record) {
  if (record.launcher == Launcher::kMpirun) return !launch::runs_here(record);
  for (const JobState& job : launch::job_states(record.job_id, launch::run_captured)) {
    if (!is_over(job)) return false;
  }
  return true;
}

// "step 120 of 400, loss 1.234", as far as the run's files say it.
std::string progress_text(const fs::path& output_dir) {
  std::string text = "no step yet";
  for (const Json& row : RowReader(output_dir / "metrics.jsonl").new_rows()) {
    if (!row.contains("loss") || !row.at("loss").is_number()) continue;
    char loss[32];
    std::snprintf(loss, sizeof loss, "%.4g", row.at("loss").get<double>());
    text = "step " + row.at("step").dump() + ", loss " + loss;
  }
  std::error_code ignored;
  if (!fs::exists(output_dir / "run.json", ignored)) return text;
  const Json info = core::read_json_file(output_dir / "run.json");
  if (info.contains("max_steps")) text += ", of " + info.at("max_steps").dump() + " steps";
  return text;
}

std::string size_text(const RunRecord& record) {
  std::string text = std::to_string(record.ranks) + (record.ranks == 1 ? " rank" : " ranks");
  if (record.restarts > 0) text += ", restarted " + std::to_string(record.restarts) + " times";
  return text;
}

std::string mpirun_state(const RunRecord& record) {
  const std::string since = " since " + record.started + ", " + size_text(record);
  if (record.exit_code) {
    return "ended " + record.ended + " with exit code " + std::to_string(*record.exit_code) + ", " +
           size_text(record);
  }
  if (record.host != core::host_name())
    return "was started on " + record.host + since + ": ask there whether it runs";
  if (launch::runs_here(record)) return "runs as process " + std::to_string(record.pid) + since;
  return "was ended without a word (its process " + std::to_string(record.pid) +
         " is gone): start it again with --resume";
}

void print_job(const JobState& job) {
  std::string text = "job " + job.id + ": ";
  text += job.state.empty() ? "SLURM knows it no more" : job.state;
  if (!job.time.empty()) text += ", " + job.time;
  if (!job.nodes.empty()) text += " on " + job.nodes;
  if (!job.reason.empty() && job.reason != "None") text += ", reason " + job.reason;
  if (!job.exit_code.empty())
    text += ", exit code " + job.exit_code.substr(0, job.exit_code.find(':'));
  std::printf("%s\n", text.c_str());
}

// Of an array of jobs every task has a log.
std::vector<fs::path> log_files(const RunRecord& record) {
  const size_t task = record.log.find("%a");
  if (task == std::string::npos) return {record.log};
  std::vector<fs::path> files;
  for (size_t i = 0; i < record.points.size(); ++i)
    files.emplace_back(std::string(record.log).replace(task, 2, std::to_string(i)));
  return files;
}

// Prints what is new of a file and returns where it ends.
std::streamoff print_from(const fs::path& path, std::streamoff offset) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return offset;
  file.seekg(offset);
  char buffer[1 << 16];
  while (file.read(buffer, sizeof buffer) || file.gcount() > 0) {
    std::fwrite(buffer, 1, static_cast<size_t>(file.gcount()), stdout);
    offset += file.gcount();
  }
  std::fflush(stdout);
  return offset;
}

}  // namespace

fs::path run_folder_of(const std::string& run) {
  std::error_code ignored;
  if (fs::is_directory(run, ignored)) return fs::absolute(run);
  if (!fs::exists(run, ignored)) {
    core::fail(ErrorKind::kMissingInput, {.what = "no such run",
                                          .where = run,
                                          .expected = "the output_dir of a run, or its recipe"});
  }
  return fs::absolute(load_recipe(run, {.overrides = {}, .num_ranks = kAnyRanks}).train.output_dir);
}

int show_status(const fs::path& output_dir) {
  const RunRecord record = record_of(output_dir);
  if (record.launcher == Launcher::kMpirun) {
    std::printf("%s\n", mpirun_state(record).c_str());
  } else {
    for (const JobState& job : launch::job_states(record.job_id, launch::run_captured))
      print_job(job);
  }
  for (const std::string& point : record.points) {
    const std::string name =
        record.points.size() > 1 ? fs::path(point).filename().string() + ": " : "";
    std::printf("%s%s\n", name.c_str(), progress_text(point).c_str());
  }
  std::printf("log: %s\n", record.log.c_str());
  return 0;
}

int show_logs(const fs::path& output_dir, bool follow) {
  const RunRecord record = record_of(output_dir);
  const std::vector<fs::path> files = log_files(record);
  std::vector<std::streamoff> offsets(files.size(), 0);
  for (bool more = true; more;) {
    // Asked before reading, so that nothing said at the end is missed.
    more = follow && !is_over(launch::read_record(output_dir).value_or(record));
    for (size_t i = 0; i < files.size(); ++i) {
      if (files.size() > 1 && !follow) std::printf("== %s\n", files[i].c_str());
      offsets[i] = print_from(files[i], offsets[i]);
    }
    const bool asks_slurm = record.launcher == Launcher::kSlurm;
    if (more) std::this_thread::sleep_for(std::chrono::milliseconds(asks_slurm ? 2000 : 200));
  }
  return 0;
}

int cancel_run(const fs::path& output_dir, bool now) {
  const RunRecord record = record_of(output_dir);
  if (record.launcher == Launcher::kSlurm) {
    core::write_file_atomic(launch::cancel_file(output_dir), "");
    launch::cancel_job(record.job_id, now, launch::run_captured);
    std::printf("job %s: %s\n", record.job_id.c_str(),
                now ? "cancelled" : "asked to stop with a checkpoint");
    return 0;
  }
  if (record.exit_code) {
    std::printf("%s\n", mpirun_state(record).c_str());
    return 0;
  }
  if (record.host != core::host_name()) {
    core::fail(ErrorKind::kUnavailable, {.what = "the run is on another machine",
                                         .where = output_dir.string(),
                                         .got = record.host,
                                         .hint = "give the same command there"});
  }
  if (!launch::runs_here(record)) {
    std::printf("%s\n", mpirun_state(record).c_str());
    return 0;
  }
  // The first signal asks for a checkpoint, the second does not wait for it.
  for (int i = 0; i < (now ? 2 : 1); ++i) {
    if (::kill(record.pid, SIGTERM) != 0)
      core::fail_errno("can't signal the run", std::to_string(record.pid), errno);
    if (now) std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
  std::printf("process %d: %s\n", static_cast<int>(record.pid),
              now ? "cancelled" : "asked to stop with a checkpoint");
  return 0;
}

void require_no_running(const fs::path& output_dir) {
  const auto record = launch::read_record(output_dir);
  if (!record || record->exit_code || is_over(*record)) return;
  core::fail(ErrorKind::kCannotCreate,
             {.what = "a run goes on in this folder",
              .where = output_dir.string(),
              .got = record->launcher == Launcher::kSlurm
                         ? "job " + record->job_id
                         : "process " + std::to_string(record->pid) + " on " + record->host,
              .hint = "hone launch --status, --logs or --cancel " + output_dir.string()});
}

}  // namespace hone::recipes
