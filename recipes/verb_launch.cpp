// hone launch: a recipe on a cluster.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "core/environment.h"
#include "core/error.h"
#include "core/files.h"
#include "launch/mpirun_line.h"
#include "launch/preflight.h"
#include "launch/run_record.h"
#include "launch/sbatch_script.h"
#include "launch/slurm.h"
#include "launch/supervise.h"
#include "recipes/cluster_plan.h"
#include "recipes/launched_run.h"
#include "recipes/recipe.h"
#include "recipes/run_folder.h"
#include "recipes/verbs.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;
using launch::Cluster;
using launch::Job;
using launch::Launcher;
using launch::RunRecord;
using launch::Start;

struct LaunchArguments {
  std::string recipe, cluster, dependency;
  std::vector<std::string> overrides, sweeps;
  bool resume = false, overwrite = false, dry_run = false, detach = false, ignore_plan = false;
  std::string status, logs, cancel;  // RUN
  bool follow = false, now = false;
};

Start start_of(const LaunchArguments& a) {
  if (a.resume && a.overwrite)
    core::fail(ErrorKind::kUsage, {.what = "--resume and --overwrite exclude each other"});
  if (a.resume) return Start::kResume;
  return a.overwrite ? Start::kOverwrite : Start::kFresh;
}

void check_usage(const LaunchArguments& a, const Cluster& cluster) {
  const bool is_slurm = cluster.launcher == Launcher::kSlurm;
  if (!a.dependency.empty() && !is_slurm) {
    core::fail(ErrorKind::kUsage, {.what = "only SLURM makes a job wait for others",
                                   .where = "--dependency",
                                   .got = "launcher: mpirun in " + cluster.path});
  }
  if (a.detach && is_slurm) {
    core::fail(ErrorKind::kUsage,
               {.what = "a job of SLURM runs by itself already", .where = "--detach"});
  }
}

// What every run of the job is checked for before anything is started: its recipe, on so many
// ranks, and whether that fits their memory.
Job make_job(const LaunchArguments& a, const Cluster& cluster) {
  const RecipeOptions options{.overrides = a.overrides, .num_ranks = cluster.num_ranks()};
  const Recipe recipe = load_recipe(a.recipe, options);
  if (!a.ignore_plan) require_memory(recipe, cluster);
  Job job;
  job.working_folder = fs::current_path();
  job.recipe = fs::absolute(a.recipe);
  job.output_dir = fs::absolute(recipe.train.output_dir).lexically_normal();
  job.overrides = a.overrides;
  job.start = start_of(a);
  job.dependency = a.dependency;
  job.ignore_plan = a.ignore_plan;
  job.program = cluster.program.empty()
                    ? (fs::read_symlink("/proc/self/exe").parent_path() / "hone").string()
                    : cluster.program;
  job.points = launch::sweep_points(a.sweeps, job.output_dir);
  job.name = launch::job_name(job.output_dir);
  for (const launch::Point& point : job.points) {
    RecipeOptions with = options;
    with.overrides.insert(with.overrides.end(), point.overrides.begin(), point.overrides.end());
    if (!job.is_sweep()) continue;
    const Recipe of_point = load_recipe(a.recipe, with);
    if (!a.ignore_plan) require_memory(of_point, cluster);
  }
  return job;
}

// Ranks on other machines see of this environment only what is named.
std::vector<std::string> forwarded_variables(const Cluster& cluster) {
  std::vector<std::string> names;
  if (cluster.mpirun.hosts.empty()) return names;
  for (const char* name : {"HONE_HUB", "HF_HOME", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE",
                           "XDG_CACHE_HOME", "HONE_START_TIMEOUT", "LD_LIBRARY_PATH", "PATH"}) {
    if (std::getenv(name) != nullptr) names.emplace_back(name);
  }
  return names;
}

int print_dry_run(const Cluster& cluster, const Job& job) {
  if (cluster.launcher == Launcher::kSlurm) {
    std::fputs(launch::sbatch_script(cluster, job).c_str(), stdout);
    return 0;
  }
  std::printf("# %s\n", launch::size_text(cluster).c_str());
  for (const launch::Point& point : job.points) {
    const auto command =
        launch::mpirun_command(cluster, job, point, job.start, forwarded_variables(cluster));
    std::printf("%s\n", launch::command_text(command).c_str());
  }
  return 0;
}

RunRecord new_record(const Cluster& cluster, const Job& job) {
  RunRecord record;
  record.launcher = cluster.launcher;
  record.host = core::host_name();
  record.log = launch::log_file(job.output_dir).string();
  record.cluster = fs::absolute(cluster.path).string();
  record.started = launch::utc_now();
  record.ranks = cluster.num_ranks();
  for (const launch::Point& point : job.points) record.points.push_back(point.output_dir.string());
  return record;
}

void prepare_folder(const Job& job) {
  core::make_folders(launch::launch_folder(job.output_dir));
  for (const launch::Point& point : job.points) {
    if (fs::exists(launch::cancel_file(point.output_dir)))
      core::remove_tree(launch::cancel_file(point.output_dir));
  }
  if (fs::exists(launch::cancel_file(job.output_dir)))
    core::remove_tree(launch::cancel_file(job.output_dir));
  // Checkpoints that are newer than this are the new run's.
  core::write_file_atomic(launch::launch_folder(job.output_dir) / "submitted", "");
}

int send_to_slurm(const Cluster& cluster, const Job& job) {
  launch::check_slurm(cluster, launch::run_captured);
  prepare_folder(job);
  const fs::path script = launch::launch_folder(job.output_dir) / "job.sbatch";
  core::write_file_atomic(script, launch::sbatch_script(cluster, job));
  launch::test_script(cluster, script, launch::run_captured);
  RunRecord record = new_record(cluster, job);
  if (job.is_sweep()) record.log = (launch::launch_folder(job.output_dir) / "log-%a.txt").string();
  record.command = "sbatch " + script.string();
  record.job_id = launch::submit_script(cluster, script, launch::run_captured);
  launch::write_record(job.output_dir, record);
  std::printf("job %s: %s\nlog: %s\n", record.job_id.c_str(), launch::size_text(cluster).c_str(),
              record.log.c_str());
  return 0;
}

// `started` is called once, when the record is there.
int run_here(const Cluster& cluster, const Job& job, std::function<void()> started) {
  RunRecord record = new_record(cluster, job);
  record.pid = ::getpid();
  record.pid_start = launch::process_start(record.pid);
  const auto on_change = [&](const RunRecord& now) {
    launch::write_record(job.output_dir, now);
    if (started) std::exchange(started, nullptr)();
  };
  return launch::supervise({.cluster = cluster,
                            .job = job,
                            .forwarded = forwarded_variables(cluster),
                            .on_change = on_change},
                           std::move(record));
}

// The run goes on in a session of its own; this process ends once it has begun.
int run_detached(const Cluster& cluster, const Job& job) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) core::fail_errno("can't make a pipe", "pipe", errno);
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) core::fail_errno("can't start a process", "fork", errno);
  if (child == 0) {
    ::setsid();
    ::close(ends[0]);
    return run_here(cluster, job, [&] {
      const int nothing = ::open("/dev/null", O_RDWR);
      for (const int descriptor : {0, 1, 2}) ::dup2(nothing, descriptor);
      if (::write(ends[1], "1", 1) != 1) std::_Exit(static_cast<int>(ErrorKind::kIo));
      ::close(ends[1]);
    });
  }
  ::close(ends[1]);
  char byte = 0;
  const ssize_t n = ::read(ends[0], &byte, 1);
  ::close(ends[0]);
  if (n != 1) {  // it has said why
    int status = 0;
    ::waitpid(child, &status, 0);
    return launch::exit_code_of(status);
  }
  std::printf("process %d: %s\nlog: %s\n", static_cast<int>(child),
              launch::size_text(cluster).c_str(), launch::log_file(job.output_dir).c_str());
  return 0;
}

int launch_job(const LaunchArguments& a) {
  const Cluster cluster = launch::load_cluster(a.cluster);
  check_usage(a, cluster);
  const Job job = make_job(a, cluster);
  if (a.dry_run) return print_dry_run(cluster, job);
  require_no_running(job.output_dir);
  if (job.start == Start::kFresh) {
    for (const launch::Point& point : job.points) require_empty_run_folder(point.output_dir);
  }
  if (cluster.launcher == Launcher::kSlurm) return send_to_slurm(cluster, job);
  launch::check_mpirun(cluster);
  prepare_folder(job);
  return a.detach ? run_detached(cluster, job) : run_here(cluster, job, nullptr);
}

int launch_or_ask(const LaunchArguments& a) {
  if (!a.status.empty()) return show_status(run_folder_of(a.status));
  if (!a.logs.empty()) return show_logs(run_folder_of(a.logs), a.follow);
  if (!a.cancel.empty()) return cancel_run(run_folder_of(a.cancel), a.now);
  if (a.recipe.empty() || a.cluster.empty()) {
    core::fail(
        ErrorKind::kUsage,
        {.what = a.recipe.empty() ? "a recipe is missing" : "--cluster is missing",
         .where = "hone launch",
         .expected = "hone launch RECIPE --cluster FILE, or --status, --logs or --cancel RUN"});
  }
  return launch_job(a);
}

}  // namespace

void add_launch(CLI::App& app, Action& chosen) {
  auto a = std::make_shared<LaunchArguments>();
  CLI::App* verb =
      app.add_subcommand("launch", "Run a recipe on a cluster: by mpirun, or as a job of SLURM");
  verb->add_option("recipe", a->recipe, "Recipe file");
  verb->add_option("--cluster", a->cluster, "Cluster file: where and how to run");
  verb->add_option("--set", a->overrides, "Override a key: key=value")->expected(1)->take_all();
  verb->add_option("--sweep", a->sweeps,
                   "Runs for every value: key=value,value (several: for every combination)")
      ->expected(1)
      ->take_all();
  verb->add_option("--dependency", a->dependency, "Of SLURM: for example afterok:123");
  verb->add_flag("--resume", a->resume, "Go on from the newest checkpoint of output_dir");
  verb->add_flag("--overwrite", a->overwrite, "Replace an earlier run in output_dir");
  verb->add_flag("--ignore-plan", a->ignore_plan,
                 "Try a run that does not fit the memory by its plan (hone plan)");
  verb->add_flag("--dry-run", a->dry_run,
                 "Print the mpirun line or the sbatch script, run nothing");
  verb->add_flag("--detach", a->detach, "Under mpirun: return at once, the run goes on");
  CLI::Option* status = verb->add_option("--status", a->status, "How RUN (its output_dir) stands");
  CLI::Option* logs = verb->add_option("--logs", a->logs, "What RUN has said");
  CLI::Option* cancel =
      verb->add_option("--cancel", a->cancel, "Stop RUN for good, with a checkpoint");
  status->excludes(logs)->excludes(cancel);
  logs->excludes(cancel);
  verb->add_flag("--follow", a->follow, "With --logs: until the run has ended")->needs(logs);
  verb->add_flag("--now", a->now, "With --cancel: without a checkpoint")->needs(cancel);
  verb->callback([&chosen, a] { chosen = [a] { return launch_or_ask(*a); }; });
}

}  // namespace hone::recipes
