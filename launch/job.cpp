#include "launch/job.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/text.h"

namespace hone::launch {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;

struct Axis {
  std::string key;
  std::vector<std::string> values;
};

Axis parse_axis(const std::string& text) {
  const size_t equals = text.find('=');
  Axis axis{.key = text.substr(0, equals), .values = {}};
  if (equals != std::string::npos) {
    for (size_t begin = equals + 1; begin <= text.size();) {
      const size_t end = std::min(text.find(',', begin), text.size());
      axis.values.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  const bool has_empty =
      std::any_of(axis.values.begin(), axis.values.end(), [](const auto& v) { return v.empty(); });
  if (axis.key.empty() || axis.values.empty() || has_empty) {
    core::fail(ErrorKind::kUsage, {.what = "not a sweep",
                                   .where = "--sweep",
                                   .got = text,
                                   .expected = "KEY=VALUE,VALUE,..."});
  }
  if (axis.key == "output_dir") {
    core::fail(ErrorKind::kUsage, {.what = "every run of a sweep has a folder of its own already",
                                   .where = "--sweep output_dir"});
  }
  return axis;
}

// A part of a file name.
std::string name_part(const std::string& text) {
  std::string name;
  for (const char c : text) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == '+';
    name += is_plain ? c : '-';
  }
  return name;
}

void check_distinct(const std::vector<Point>& points) {
  std::set<fs::path> folders;
  for (const Point& point : points) {
    if (folders.insert(point.output_dir).second) continue;
    core::fail(ErrorKind::kUsage, {.what = "two runs of the sweep would share a folder",
                                   .where = "--sweep",
                                   .got = point.output_dir.string(),
                                   .hint = "give every value once; a file is named by a recipe of "
                                           "its own"});
  }
}

}  // namespace

fs::path launch_folder(const fs::path& output_dir) { return output_dir / kLaunchFolder; }
fs::path log_file(const fs::path& output_dir) { return launch_folder(output_dir) / "log.txt"; }
fs::path cancel_file(const fs::path& output_dir) { return launch_folder(output_dir) / "cancelled"; }

std::vector<std::pair<std::string, std::string>> rank_variables(const Cluster& cluster) {
  auto variables = cluster.environment;
  const bool has_threads =
      std::any_of(variables.begin(), variables.end(),
                  [](const auto& variable) { return variable.first == "OMP_NUM_THREADS"; });
  if (cluster.threads_per_rank > 0 && !has_threads)
    variables.emplace_back("OMP_NUM_THREADS", std::to_string(cluster.threads_per_rank));
  variables.emplace_back("HONE_RANKS", std::to_string(cluster.num_ranks()));
  return variables;
}

std::vector<std::string> set_words(const std::vector<std::string>& overrides) {
  std::vector<std::string> words;
  for (const std::string& text : overrides) words.insert(words.end(), {"--set", text});
  return words;
}

std::string job_name(const fs::path& output_dir) {
  const std::string name = name_part(output_dir.filename().string());
  return name.empty() ? "hone" : "hone-" + name;
}

std::string size_text(const Cluster& cluster) {
  const auto count = [](int64_t n, const std::string& word) {
    return std::to_string(n) + " " + word + (n == 1 ? "" : "s");
  };
  const bool is_here = cluster.launcher == Launcher::kMpirun && cluster.mpirun.hosts.empty();
  std::string text = count(cluster.num_ranks(), "rank") + " on " +
                     (is_here ? "this machine" : count(cluster.nodes, "node"));
  const bool several = cluster.num_ranks() > 1;
  text += several ? ", each " : ", ";
  switch (cluster.bind) {
    case Binding::kCores:
      text += "bound to " + count(cluster.cpus_per_rank, "core");
      break;
    case Binding::kSockets:
      text += "bound to a socket";
      break;
    case Binding::kNone:
      text += "not bound";
      break;
  }
  if (cluster.threads_per_rank > 0) text += ", " + count(cluster.threads_per_rank, "thread");
  if (cluster.gpus_per_node > 0)
    text += ", a GPU of " + std::to_string(cluster.gpus_per_node) + " a node";
  return text;
}

std::vector<std::string> program_words(const Cluster& cluster, const Job& job) {
  std::vector<std::string> words;
  const Container& container = cluster.container;
  // Pyxis has options of srun instead.
  if (!container.image.empty() && container.runtime == ContainerRuntime::kApptainer) {
    words = {"apptainer", "exec"};
    if (cluster.gpus_per_node > 0) words.emplace_back("--nv");
    for (const std::string& mount : container.mounts) words.insert(words.end(), {"--bind", mount});
    words.insert(words.end(), container.options.begin(), container.options.end());
    words.push_back(container.image);
  }
  words.insert(words.end(), {job.program, "train", job.recipe.string()});
  if (job.ignore_plan) words.emplace_back("--ignore-plan");
  const std::vector<std::string> set = set_words(job.overrides);
  words.insert(words.end(), set.begin(), set.end());
  return words;
}

std::vector<Point> sweep_points(const std::vector<std::string>& sweeps,
                                const fs::path& output_dir) {
  constexpr size_t kMostPoints = 10000;
  if (sweeps.empty()) return {{.overrides = {}, .output_dir = output_dir}};
  std::vector<std::pair<std::string, Point>> points{{"", {}}};
  for (const std::string& text : sweeps) {
    const Axis axis = parse_axis(text);
    std::vector<std::pair<std::string, Point>> longer;
    for (const auto& [name, point] : points) {
      for (const std::string& value : axis.values) {
        Point next = point;
        next.overrides.push_back(std::string(axis.key).append("=").append(value));
        longer.emplace_back(
            name + (name.empty() ? "" : "_") + name_part(axis.key) + "-" + name_part(value), next);
      }
    }
    points = std::move(longer);
    if (points.size() > kMostPoints) {
      core::fail(ErrorKind::kUsage, {.what = "more than 10,000 runs", .where = "--sweep"});
    }
  }
  std::vector<Point> named;
  for (auto& [name, point] : points) {
    point.output_dir = output_dir / name;
    point.overrides.push_back("output_dir=" + point.output_dir.string());
    named.push_back(std::move(point));
  }
  check_distinct(named);
  return named;
}

}  // namespace hone::launch
