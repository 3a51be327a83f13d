#include "launch/cluster.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "core/yaml.h"
#include "launch/cluster_keys.h"

namespace hone::launch {
namespace {

using core::ErrorKind;
using core::YamlNode;
using core::YamlProblem;
using Problems = std::vector<YamlProblem>;

std::string describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kSequence:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
    case YamlNode::Kind::kScalar:
      break;
  }
  return "'" + core::excerpt(node.scalar, 60) + "'";
}

// The names directly below `prefix`, without it.
std::vector<std::string> names_below(const std::string& prefix) {
  std::vector<std::string> names;
  for (const ClusterKey& key : cluster_keys()) {
    if (!key.name.starts_with(prefix)) continue;
    std::string rest = key.name.substr(prefix.size());
    if (rest.find('.') == std::string::npos) names.push_back(std::move(rest));
  }
  return names;
}

const ClusterKey* find_key(const std::string& name) {
  const auto& keys = cluster_keys();
  const auto found =
      std::find_if(keys.begin(), keys.end(), [&](const ClusterKey& k) { return k.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

void report_unknown(const YamlNode::Entry& entry, const std::string& prefix, Problems& problems) {
  const std::vector<std::string> names = names_below(prefix);
  const std::string suggestion = core::did_you_mean(entry.key, names);
  problems.push_back(
      {entry.line, prefix + core::excerpt(entry.key, 60) + ": unknown key" +
                       (suggestion.empty() ? ", known are: " + core::join(names, ", ")
                                           : ", did you mean '" + prefix + suggestion + "'?")});
}

void read_map(const YamlNode& map, const std::string& prefix, Cluster& cluster,
              Problems& problems) {
  for (const YamlNode::Entry& entry : map.entries) {
    const ClusterKey* key =
        entry.key.find('.') == std::string::npos ? find_key(prefix + entry.key) : nullptr;
    if (key == nullptr) {
      report_unknown(entry, prefix, problems);
      continue;
    }
    if (entry.value.kind == YamlNode::Kind::kNull) continue;  // as if it were not there
    cluster.lines[key->name] = entry.line;
    if (!key->read(entry.value, cluster)) {
      problems.push_back({entry.value.line, key->name + ": got " + describe(entry.value) +
                                                ", expected " + key->expected});
    } else if (entry.value.kind == YamlNode::Kind::kMap && key->name != "environment") {
      read_map(entry.value, key->name + ".", cluster, problems);
    }
  }
}

const char* name_of(Launcher launcher) { return launcher == Launcher::kSlurm ? "slurm" : "mpirun"; }

class CombinationChecks {
 public:
  CombinationChecks(Cluster& cluster, Problems& problems)
      : cluster_(cluster), problems_(problems) {}

  void run() {
    check_launchers();
    check_hosts();
    check_processors();
    check_container();
    check_time();
  }

 private:
  bool given(const std::string& key) const { return cluster_.lines.contains(key); }
  void report(const std::string& key, const std::string& message) {
    const auto line = cluster_.lines.find(key);
    problems_.push_back({line == cluster_.lines.end() ? 1 : line->second, key + ": " + message});
  }

  void check_launchers() {
    if (!given("launcher")) report("launcher", "missing, expected mpirun or slurm");
    for (const auto& [name, line] : cluster_.lines) {
      const auto& launchers = find_key(name)->launchers;
      if (launchers.empty() || launchers.front() == cluster_.launcher) continue;
      report(name, std::string("is for launcher: ") + name_of(launchers.front()) +
                       ", and this file has launcher: " + name_of(cluster_.launcher));
    }
  }

  void check_hosts() {
    if (cluster_.launcher == Launcher::kSlurm) return;
    const auto& hosts = cluster_.mpirun.hosts;
    const auto num_hosts = static_cast<int64_t>(std::max<size_t>(1, hosts.size()));
    if (given("nodes") && cluster_.nodes != num_hosts) {
      report("nodes", "got " + std::to_string(cluster_.nodes) + ", but mpirun has " +
                          (hosts.empty() ? "this machine alone: name the others in hosts"
                                         : std::to_string(num_hosts) + " hosts"));
    }
    cluster_.nodes = num_hosts;
    for (size_t i = 0; i < hosts.size(); ++i) {
      if (hosts[i].find_first_of(" ,:") != std::string::npos || hosts[i].starts_with('-'))
        report("hosts", "got '" + hosts[i] + "', expected the name of a machine");
      if (std::find(hosts.begin(), hosts.begin() + static_cast<std::ptrdiff_t>(i), hosts[i]) !=
          hosts.begin() + static_cast<std::ptrdiff_t>(i))
        report("hosts", "'" + hosts[i] + "' is there twice: ranks_per_node says how many it runs");
    }
  }

  void check_processors() {
    if (cluster_.gpus_per_node > 0 && cluster_.ranks_per_node > cluster_.gpus_per_node) {
      report("ranks_per_node", "got " + std::to_string(cluster_.ranks_per_node) +
                                   " for gpus_per_node " + std::to_string(cluster_.gpus_per_node) +
                                   ": every rank takes a GPU of its own");
    }
    if (!given("bind") && cluster_.cpus_per_rank > 0 && !cluster_.mpirun.oversubscribe)
      cluster_.bind = Binding::kCores;
    if (cluster_.bind == Binding::kCores && cluster_.cpus_per_rank == 0)
      report("bind", "cores needs cpus_per_rank: how many of them");
    if (cluster_.bind != Binding::kNone && cluster_.mpirun.oversubscribe)
      report("oversubscribe", "more ranks than cores can't be bound: leave bind out");
    if (cluster_.threads_per_rank == 0) cluster_.threads_per_rank = cluster_.cpus_per_rank;
  }

  void check_container() {
    const Container& container = cluster_.container;
    if (given("container") && container.image.empty())
      report("container", "container.image is missing");
    if (container.image.empty()) return;
    if (container.runtime == ContainerRuntime::kPyxis && cluster_.launcher != Launcher::kSlurm)
      report("container.runtime", "pyxis is a part of SLURM: apptainer runs under mpirun");
    // The path of the program outside says nothing of the one inside.
    if (cluster_.program.empty()) cluster_.program = "hone";
  }

  void check_time() {
    const int64_t limit = time_limit_seconds(cluster_.slurm.time);
    if (limit > 0 && cluster_.slurm.stop_before_time_limit >= limit) {
      report("stop_before_time_limit", "got " +
                                           std::to_string(cluster_.slurm.stop_before_time_limit) +
                                           " seconds, which the time limit of " +
                                           std::to_string(limit) + " seconds does not have");
    }
  }

  Cluster& cluster_;
  Problems& problems_;
};

[[noreturn]] void throw_problems(Problems problems, const std::string& path) {
  std::stable_sort(problems.begin(), problems.end(),
                   [](const auto& a, const auto& b) { return a.line < b.line; });
  std::string text = std::to_string(problems.size()) +
                     (problems.size() == 1 ? " problem" : " problems") + " in the cluster file";
  for (const YamlProblem& problem : problems)
    text += "\n" + path + ":" + std::to_string(problem.line) + ": " + problem.message;
  core::fail(ErrorKind::kBadRecipe, {.what = text});
}

std::optional<int64_t> number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value < 0 ||
      value > 1000000)
    return std::nullopt;
  return value;
}

}  // namespace

std::string Cluster::place(const std::string& key) const {
  const auto line = lines.find(key);
  return line == lines.end() ? path : path + ":" + std::to_string(line->second);
}

Cluster parse_cluster(const std::string& text, const std::string& path) {
  Problems problems;
  const YamlNode root = core::parse_yaml(text, problems);
  if (problems.empty() && root.kind != YamlNode::Kind::kMap)
    problems.push_back({1, "got " + describe(root) + ", expected keys and values"});
  Cluster cluster;
  cluster.path = path;
  read_map(root, "", cluster, problems);
  if (problems.empty()) CombinationChecks(cluster, problems).run();
  if (!problems.empty()) throw_problems(std::move(problems), path);
  return cluster;
}

Cluster load_cluster(const std::string& path) {
  return parse_cluster(core::read_file(path, uint64_t{64} << 20), path);
}

int64_t time_limit_seconds(const std::string& text) {
  std::string_view rest = text;
  int64_t days = -1;
  if (const size_t dash = rest.find('-'); dash != std::string_view::npos) {
    const auto value = number(rest.substr(0, dash));
    if (!value) return -1;
    days = *value;
    rest.remove_prefix(dash + 1);
  }
  std::vector<int64_t> parts;
  for (size_t begin = 0; begin <= rest.size();) {
    const size_t end = std::min(rest.find(':', begin), rest.size());
    const auto value = number(rest.substr(begin, end - begin));
    if (!value || parts.size() == 3) return -1;
    parts.push_back(*value);
    begin = end + 1;
  }
  const auto part = [&](size_t i) { return i < parts.size() ? parts[i] : 0; };
  if (days >= 0) return ((days * 24 + part(0)) * 60 + part(1)) * 60 + part(2);
  if (parts.size() == 3) return (parts[0] * 60 + parts[1]) * 60 + parts[2];
  return part(0) * 60 + part(1);
}

}  // namespace hone::launch
