#include "launch/sbatch_script.h"

#include "core/text.h"
#include "launch/shell.h"

namespace hone::launch {
namespace {

// sbatch reads its lines' quotes as a shell does, but knows no '\''.
std::string directive(const std::string& name, const std::string& value) {
  const bool is_word = value.find_first_of(" \t'\"\\#") == std::string::npos;
  std::string text = "#SBATCH --" + name;
  if (value.empty()) return text + "\n";
  if (is_word) return text + "=" + value + "\n";
  std::string quoted;
  for (const char c : value) quoted += (c == '"' || c == '\\' ? "\\" : "") + std::string(1, c);
  return text + "=\"" + quoted + "\"\n";
}

std::string directive(const std::string& name, int64_t value) {
  return directive(name, std::to_string(value));
}

std::string optional(const std::string& name, const std::string& value) {
  return value.empty() ? "" : directive(name, value);
}

std::string size_directives(const Cluster& cluster) {
  std::string text =
      directive("nodes", cluster.nodes) + directive("ntasks-per-node", cluster.ranks_per_node);
  if (cluster.cpus_per_rank > 0) text += directive("cpus-per-task", cluster.cpus_per_rank);
  if (cluster.gpus_per_node > 0) text += directive("gpus-per-node", cluster.gpus_per_node);
  return text;
}

std::string array_directive(const Cluster& cluster, const Job& job) {
  if (!job.is_sweep()) return "";
  std::string range = "0-" + std::to_string(job.points.size() - 1);
  if (cluster.slurm.array_limit > 0) range += "%" + std::to_string(cluster.slurm.array_limit);
  return directive("array", range);
}

std::string directives(const Cluster& cluster, const Job& job) {
  const SlurmOptions& s = cluster.slurm;
  const std::string log = job.is_sweep() ? (launch_folder(job.output_dir) / "log-%a.txt").string()
                                         : log_file(job.output_dir).string();
  std::string text = directive("job-name", job.name) + size_directives(cluster) +
                     optional("partition", s.partition) + optional("account", s.account) +
                     optional("qos", s.qos) + optional("time", s.time) + optional("mem", s.memory) +
                     optional("constraint", s.constraint) + optional("reservation", s.reservation) +
                     optional("nodelist", s.nodelist);
  if (s.exclusive) text += directive("exclusive", "");
  text += array_directive(cluster, job) + optional("dependency", job.dependency);
  text += directive("chdir", job.working_folder.string()) + directive("output", log) +
          directive("open-mode", "append") + directive("requeue", "");
  // To the ranks, not to this script.
  if (!s.time.empty())
    text += directive("signal", "USR1@" + std::to_string(s.stop_before_time_limit));
  for (const std::string& option : s.sbatch_options) text += "#SBATCH " + option + "\n";
  return text;
}

std::string set_up(const Cluster& cluster) {
  std::string text;
  if (!cluster.modules.empty()) text += "module load " + shell_line(cluster.modules) + "\n";
  for (const auto& [name, value] : rank_variables(cluster))
    text += "export " + name + "=" + shell_word(value) + "\n";
  for (const std::string& line : cluster.setup) text += line + "\n";
  return text;
}

std::string sweep_cases(const Job& job) {
  if (!job.is_sweep()) return "";
  std::string text = "case \"$SLURM_ARRAY_TASK_ID\" in\n";
  for (size_t i = 0; i < job.points.size(); ++i) {
    const Point& point = job.points[i];
    text += "  " + std::to_string(i) + ") output_dir=" + shell_word(point.output_dir.string()) +
            "; arguments+=(" + shell_line(set_words(point.overrides)) + ") ;;\n";
  }
  return text + "  *) say \"no run of this number in the sweep\"; exit 64 ;;\nesac\n";
}

std::vector<std::string> srun_words(const Cluster& cluster) {
  const SlurmOptions& s = cluster.slurm;
  // Survivors of a lost rank get a minute to say so: srun would wait for them for ever, or not at
  // all, as the cluster is set up.
  std::vector<std::string> words = {"srun", "--mpi=" + s.mpi, "--kill-on-bad-exit=0", "--wait=60"};
  if (cluster.cpus_per_rank > 0)  // srun does not take it over from the job
    words.push_back("--cpus-per-task=" + std::to_string(cluster.cpus_per_rank));
  if (cluster.bind == Binding::kCores) words.emplace_back("--cpu-bind=cores");
  if (cluster.bind == Binding::kSockets) words.emplace_back("--cpu-bind=sockets");
  if (!cluster.container.image.empty() && cluster.container.runtime == ContainerRuntime::kPyxis) {
    words.push_back("--container-image=" + cluster.container.image);
    if (!cluster.container.mounts.empty())
      words.push_back("--container-mounts=" + core::join(cluster.container.mounts, ","));
    words.insert(words.end(), cluster.container.options.begin(), cluster.container.options.end());
  }
  words.insert(words.end(), s.srun_options.begin(), s.srun_options.end());
  return words;
}

// What a start from the top begins with. A run that was to overwrite and was stopped before its
// first checkpoint must not go on with one of the run it overwrites.
std::string start_choice(Start start) {
  if (start == Start::kResume) return "arguments+=(--resume)\n";
  if (start == Start::kFresh) return "[ \"$restarts\" -eq 0 ] || arguments+=(--resume)\n";
  return R"sh(newer=$(find "$output_dir" -maxdepth 1 -name 'checkpoint-*' -newer "$launch_dir/submitted" 2>/dev/null)
if [ "$restarts" -gt 0 ] && [ -n "$newer" ]; then arguments+=(--resume); else arguments+=(--overwrite); fi
)sh";
}

// bash runs a trap only between commands, and `wait` is the one that a signal cuts short: the ranks
// run in the background.
constexpr const char* kRun = R"sh(
is_cancelled() { [ -e "$launch_dir/cancelled" ] || [ -e "$output_dir/launch/cancelled" ]; }
if is_cancelled; then say "cancelled before it began"; exit 75; fi
# Preemptions are not counted among the restarts.
count_file=$output_dir/launch/restarts
spent=0
if [ -e "$count_file" ]; then read -r job spent < "$count_file"; [ "$job" = "$SLURM_JOB_ID" ] || spent=0; fi
stop=
step=
forward() { signalled=1; stop=$1; [ -z "$step" ] || kill -s "$1" "$step" 2>/dev/null; }
trap 'forward USR1' USR1
trap 'forward TERM' TERM

say "start $((restarts + 1)) of job $SLURM_JOB_ID on ${SLURM_JOB_NODELIST:-?} at $(date -Is)"
mkdir -p "$output_dir/launch"
# srun ends with 0 when it could not start a single rank (PMIx finds a folder in /tmp with the name of this job and step). Ranks
# that have run have written run.json; a step of another number finds its way free.
run_file() { cksum < "$output_dir/run.json" 2>/dev/null; }
for attempt in 1 2 3; do
  before=$(run_file)
)sh";

constexpr const char* kEnd = R"sh( "${arguments[@]}" &
  step=$!
  code=127
  signalled=1
  while [ -n "$signalled" ]; do  # until it was not a signal that ended the wait
    signalled=
    wait "$step"
    status=$?
    [ "$status" -eq 127 ] || code=$status
  done
  step=
  if [ "$code" -ne 0 ] || [ "$(run_file)" != "$before" ]; then break; fi
  code=76
  say "srun started no rank (attempt $attempt of 3)"
  if [ -n "$stop" ] || is_cancelled; then break; fi
done
say "the ranks ended with exit code $code"
[ "$code" -le 128 ] || code=76  # ended by a signal, which they did not catch

again() {
  say "exit code $code: $1"
  scontrol requeue "$SLURM_JOB_ID" || say "scontrol requeue failed: start it again by hand"
  exit "$code"
}
case "$code" in
  75 | 76) ;;
  *) exit "$code" ;;
esac
if is_cancelled; then
  say "cancelled: not started again"
  exit "$code"
fi
shown=$(scontrol show job --oneliner "$SLURM_JOB_ID")
field() { [[ " $shown" =~ \ $1=([^ ]*) ]] && printf '%s' "${BASH_REMATCH[1]}"; }
# A job that is preempted and ends before its grace time is over is not requeued by SLURM itself.
# The time of an earlier preemption stays there.
if [[ "$(field PreemptTime)" == [0-9]* && ! "$(field PreemptTime)" < "$(field StartTime)" ]]; then
  again "preempted, to go on later"
fi
if [ "$stop" = TERM ] || [ "$(field JobState)" = CANCELLED ]; then
  say "ended from outside: not started again"
  exit "$code"
fi
if [ "$spent" -ge "$max_restarts" ]; then
  say "exit code $code: no restart is left of $max_restarts"
  exit "$code"
fi
echo "$SLURM_JOB_ID $((spent + 1))" > "$count_file"
again "restart $((spent + 1)) of $max_restarts"
)sh";

}  // namespace

std::string sbatch_script(const Cluster& cluster, const Job& job) {
  std::string text =
      "#!/bin/bash\n# Written by hone launch. SLURM runs it from the top again "
      "after a requeue.\n# " +
      size_text(cluster) + "\n" + directives(cluster, job) + "\n";
  text += "say() { printf '== hone launch: %s\\n' \"$*\"; }\n";
  text += "restarts=${SLURM_RESTART_COUNT:-0}\n";
  text += "max_restarts=" + std::to_string(cluster.max_restarts) + "\n";
  text += "launch_dir=" + shell_word(launch_folder(job.output_dir).string()) + "\n";
  text += "output_dir=" + shell_word(job.output_dir.string()) + "\n";
  text += "arguments=()\n";
  text += sweep_cases(job) + start_choice(job.start) + set_up(cluster);
  text += kRun + ("  " + shell_line(srun_words(cluster))) + " \\\n    " +
          shell_line(program_words(cluster, job)) + kEnd;
  return text;
}

}  // namespace hone::launch
