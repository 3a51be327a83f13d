#include "launch/slurm.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "core/error.h"
#include "core/text.h"

namespace hone::launch {
namespace {

using core::ErrorKind;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

std::vector<std::string> columns_of(const std::string& line) {
  std::vector<std::string> columns;
  for (size_t begin = 0; begin <= line.size();) {
    const size_t end = std::min(line.find('|', begin), line.size());
    columns.push_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
  return columns;
}

// What a command of SLURM says, on one line.
std::string said(const Captured& captured) {
  return core::join(lines_of(captured.err.empty() ? captured.out : captured.err), "; ");
}

Captured ask(const std::vector<std::string>& words, const RunCommand& run) {
  Captured captured = run(words);
  if (captured.code == kNoSuchProgram) {
    core::fail(ErrorKind::kUnavailable,
               {.what = "SLURM is not on this machine: no " + words.front(),
                .hint = "run this on a login node of the cluster, or load SLURM's module"});
  }
  return captured;
}

bool is_controller_away(const Captured& captured) {
  for (const char* text :
       {"Unable to contact slurm", "fetch_config", "Connection refused",
        "Zero Bytes were transmitted", "Socket timed out", "Protocol authentication error"}) {
    if (captured.err.find(text) != std::string::npos) return true;
  }
  return false;
}

[[noreturn]] void fail_away(const Captured& captured) {
  core::fail(ErrorKind::kUnavailable, {.what = "SLURM does not answer", .got = said(captured)});
}

// Which line of the cluster file a refusal of sbatch is about, as far as its words say so.
std::string refused_key(const std::string& text) {
  const std::vector<std::pair<std::string, std::string>> words = {{"partition", "partition"},
                                                                  {"account", "account"},
                                                                  {"qos", "qos"},
                                                                  {"QOS", "qos"},
                                                                  {"time limit", "time"},
                                                                  {"--time", "time"},
                                                                  {"feature", "constraint"},
                                                                  {"reservation", "reservation"},
                                                                  {"memory", "memory"},
                                                                  {"Memory", "memory"},
                                                                  {"GPU", "gpus_per_node"},
                                                                  {"gres", "gpus_per_node"},
                                                                  {"CPU count", "cpus_per_rank"},
                                                                  {"node configuration", "nodes"},
                                                                  {"ode count", "nodes"},
                                                                  {"node name", "nodelist"},
                                                                  {"dependency", "--dependency"}};
  for (const auto& [word, key] : words) {
    if (text.find(word) != std::string::npos) return key;
  }
  return "";
}

[[noreturn]] void fail_refused(const Cluster& cluster, const Captured& captured) {
  if (is_controller_away(captured)) fail_away(captured);
  const std::string text = said(captured);
  const std::string key = refused_key(text);
  core::fail(ErrorKind::kBadRecipe,
             {.what = "SLURM refuses the job", .where = cluster.place(key), .got = text});
}

std::vector<JobState> states_in_queue(const std::string& job_id, const RunCommand& run) {
  const Captured queue =
      ask({"squeue", "--noheader", "--jobs=" + job_id, "--format=%i|%T|%M|%N|%r"}, run);
  if (queue.code != 0 && is_controller_away(queue)) fail_away(queue);
  std::vector<JobState> states;
  for (const std::string& line : lines_of(queue.out)) {
    const std::vector<std::string> c = columns_of(line);
    if (queue.code != 0 || c.size() != 5) continue;
    states.push_back({.id = c[0], .state = c[1], .time = c[2], .nodes = c[3], .reason = c[4]});
  }
  return states;
}

// "JobId=12 ... JobState=COMPLETED ..." a job a line: SLURM remembers ended jobs for some minutes.
std::vector<JobState> states_in_controller(const std::string& job_id, const RunCommand& run) {
  const Captured shown = ask({"scontrol", "show", "job", "--oneliner", job_id}, run);
  std::vector<JobState> states;
  for (const std::string& line : lines_of(shown.code == 0 ? shown.out : "")) {
    std::map<std::string, std::string> fields;
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      const size_t equals = word.find('=');
      if (equals != std::string::npos)
        fields.emplace(word.substr(0, equals), word.substr(equals + 1));
    }
    if (!fields.contains("JobState")) continue;
    const bool is_task = fields.contains("ArrayTaskId");
    states.push_back(
        {.id = is_task ? fields["ArrayJobId"] + "_" + fields["ArrayTaskId"] : fields["JobId"],
         .state = fields["JobState"],
         .time = fields["RunTime"],
         .nodes = fields["NodeList"] == "(null)" ? "" : fields["NodeList"],
         .reason = fields["Reason"],
         .exit_code = fields["ExitCode"]});
  }
  return states;
}

std::vector<JobState> states_in_accounting(const std::string& job_id, const RunCommand& run) {
  const Captured table =
      run({"sacct", "--noheader", "--parsable2", "--allocations", "--jobs=" + job_id,
           "--format=JobID,State,Elapsed,NodeList,ExitCode"});
  std::vector<JobState> states;
  for (const std::string& line : lines_of(table.code == 0 ? table.out : "")) {
    const std::vector<std::string> c = columns_of(line);
    if (c.size() != 5) continue;
    states.push_back({.id = c[0], .state = c[1], .time = c[2], .nodes = c[3], .exit_code = c[4]});
  }
  return states;
}

}  // namespace

void check_slurm(const Cluster& cluster, const RunCommand& run) {
  const Captured captured = ask({"sinfo", "--noheader", "--format=%R"}, run);
  if (captured.code != 0) fail_away(captured);
  std::vector<std::string> partitions = lines_of(captured.out);
  for (std::string& name : partitions) name.erase(name.find_last_not_of(' ') + 1);
  std::sort(partitions.begin(), partitions.end());
  partitions.erase(std::unique(partitions.begin(), partitions.end()), partitions.end());
  std::istringstream wanted(cluster.slurm.partition);  // several with commas: any of them
  for (std::string name; std::getline(wanted, name, ',');) {
    if (std::find(partitions.begin(), partitions.end(), name) != partitions.end()) continue;
    const std::string suggestion = core::did_you_mean(name, partitions);
    core::fail(ErrorKind::kBadRecipe,
               {.what = "SLURM has no such partition",
                .where = cluster.place("partition"),
                .got = name,
                .expected = "one of: " + core::join(partitions, ", "),
                .hint = suggestion.empty() ? "" : "did you mean '" + suggestion + "'?"});
  }
}

void test_script(const Cluster& cluster, const std::filesystem::path& script,
                 const RunCommand& run) {
  const Captured captured = ask({"sbatch", "--test-only", script.string()}, run);
  if (captured.code != 0) fail_refused(cluster, captured);
}

std::string submit_script(const Cluster& cluster, const std::filesystem::path& script,
                          const RunCommand& run) {
  const Captured captured = ask({"sbatch", "--parsable", script.string()}, run);
  if (captured.code != 0) fail_refused(cluster, captured);
  const std::vector<std::string> lines = lines_of(captured.out);
  std::string id = lines.empty() ? "" : lines.back().substr(0, lines.back().find(';'));
  if (id.empty() || id.find_first_not_of("0123456789") != std::string::npos) {
    core::fail(ErrorKind::kUnavailable,
               {.what = "sbatch gave no job's number", .got = core::excerpt(captured.out)});
  }
  return id;
}

std::vector<JobState> job_states(const std::string& job_id, const RunCommand& run) {
  std::vector<JobState> states = states_in_queue(job_id, run);
  if (states.empty()) states = states_in_controller(job_id, run);
  if (states.empty()) states = states_in_accounting(job_id, run);
  if (states.empty()) states.push_back({.id = job_id});
  return states;
}

void cancel_job(const std::string& job_id, bool now, const RunCommand& run) {
  const auto must = [&](const std::vector<std::string>& words) {
    const Captured captured = ask(words, run);
    if (captured.code != 0 && captured.err.find("already completing") == std::string::npos) {
      core::fail(ErrorKind::kUnavailable,
                 {.what = "SLURM did not cancel job " + job_id, .got = said(captured)});
    }
  };
  if (now) return must({"scancel", job_id});
  must({"scancel", "--state=PENDING", job_id});
  // Between steps there is nobody to take the signal: the script looks at the mark before each.
  ask({"scancel", "--state=RUNNING", "--signal=USR1", job_id}, run);
}

}  // namespace hone::launch
