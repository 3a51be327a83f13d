#include "launch/mpirun_line.h"

#include <algorithm>

#include "core/text.h"
#include "launch/shell.h"

namespace hone::launch {
namespace {

void append(std::vector<std::string>& words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
}

void add_hosts(const Cluster& cluster, std::vector<std::string>& words) {
  if (cluster.mpirun.hosts.empty()) return;
  std::vector<std::string> hosts;
  for (const std::string& host : cluster.mpirun.hosts)
    hosts.push_back(host + ":" + std::to_string(cluster.ranks_per_node));
  append(words, {"--host", core::join(hosts, ",")});
}

void add_binding(const Cluster& cluster, std::vector<std::string>& words) {
  const std::string per_node = "ppr:" + std::to_string(cluster.ranks_per_node) + ":node";
  switch (cluster.bind) {
    case Binding::kCores:
      append(words, {"--map-by", per_node + ":PE=" + std::to_string(cluster.cpus_per_rank),
                     "--bind-to", "core"});
      break;
    case Binding::kSockets:
      append(words, {"--map-by", per_node, "--bind-to", "socket"});
      break;
    case Binding::kNone:
      append(words, {"--map-by", per_node, "--bind-to", "none"});
      break;
  }
  if (cluster.mpirun.oversubscribe) append(words, {"--oversubscribe"});
}

void add_transport(const Cluster& cluster, std::vector<std::string>& words) {
  // Open MPI waits so long before it sends SIGTERM to the ranks that outlive another, and as long
  // again before SIGKILL: their time to name the lost one.
  append(words,
         {"--mca", "odls_base_sigkill_timeout", std::to_string(cluster.mpirun.survivor_seconds)});
  if (cluster.mpirun.interface.empty()) return;
  append(words, {"--mca", "btl_tcp_if_include", cluster.mpirun.interface, "--mca",
                 "oob_tcp_if_include", cluster.mpirun.interface});
}

std::vector<std::string> mpirun_words(const Cluster& cluster,
                                      const std::vector<std::string>& names) {
  std::vector<std::string> words = {"mpirun", "-np", std::to_string(cluster.num_ranks())};
  add_hosts(cluster, words);
  add_binding(cluster, words);
  add_transport(cluster, words);
  for (const std::string& name : names) append(words, {"-x", name});
  append(words, cluster.mpirun.options);
  return words;
}

// A shell that sets up and becomes the command.
std::vector<std::string> in_shell(const Cluster& cluster, const std::vector<std::string>& words) {
  std::string script = "set -e; ";
  if (!cluster.modules.empty()) script += "module load " + shell_line(cluster.modules) + "; ";
  for (const std::string& line : cluster.setup) script += line + "\n";
  return {"bash", "-lc", script + "exec " + shell_line(words)};
}

}  // namespace

bool needs_mpirun(const Cluster& cluster) {
  return cluster.num_ranks() > 1 || !cluster.mpirun.hosts.empty();
}

MpirunCommand mpirun_command(const Cluster& cluster, const Job& job, const Point& point,
                             Start start, const std::vector<std::string>& forwarded) {
  MpirunCommand command;
  command.environment = rank_variables(cluster);
  std::vector<std::string> names = forwarded;
  for (const auto& [name, value] : command.environment) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  if (needs_mpirun(cluster)) command.words = mpirun_words(cluster, names);
  append(command.words, program_words(cluster, job));
  append(command.words, set_words(point.overrides));
  if (start == Start::kResume) append(command.words, {"--resume"});
  if (start == Start::kOverwrite) append(command.words, {"--overwrite"});
  if (!cluster.modules.empty() || !cluster.setup.empty())
    command.words = in_shell(cluster, command.words);
  return command;
}

std::string command_text(const MpirunCommand& command) {
  std::string text;
  for (const auto& [name, value] : command.environment)
    text += name + "=" + shell_word(value) + " ";
  return text + shell_line(command.words);
}

}  // namespace hone::launch
