#include "launch/cluster_keys.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace hone::launch {
namespace {

using core::YamlNode;
using Kind = YamlNode::Kind;

// Texts go into lines of a script and words of a command: no line breaks or other controls.
bool is_plain(const std::string& text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

std::optional<std::string> text_of(const YamlNode& node) {
  if (node.kind != Kind::kScalar || node.scalar.empty() || !is_plain(node.scalar))
    return std::nullopt;
  return node.scalar;
}

std::optional<int64_t> integer_of(const YamlNode& node, int64_t minimum, int64_t maximum) {
  if (node.kind != Kind::kScalar || node.quoted) return std::nullopt;
  const std::string& text = node.scalar;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (value < minimum || value > maximum) return std::nullopt;
  return value;
}

std::optional<std::vector<std::string>> texts_of(const YamlNode& node) {
  if (node.kind != Kind::kSequence) return std::nullopt;
  std::vector<std::string> texts;
  for (const YamlNode& item : node.items) {
    const auto text = text_of(item);
    if (!text) return std::nullopt;
    texts.push_back(*text);
  }
  return texts;
}

bool is_variable_name(const std::string& name) {
  const auto is_part = [](char c) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !name.empty() && !(name[0] >= '0' && name[0] <= '9') &&
         std::all_of(name.begin(), name.end(), is_part);
}

using Launchers = std::vector<Launcher>;
const Launchers kAll, kSlurm{Launcher::kSlurm}, kMpirun{Launcher::kMpirun};

// `field` gives the place of the value in a Cluster.
template <class Field>
ClusterKey text_key(const char* name, Launchers launchers, Field field) {
  return {name, std::move(launchers), "text on one line",
          [field](const YamlNode& node, Cluster& c) {
            const auto text = text_of(node);
            if (text) field(c) = *text;
            return text.has_value();
          }};
}

// One word of an sbatch option.
template <class Field>
ClusterKey word_key(const char* name, Field field) {
  return {name, kSlurm, "text without spaces", [field](const YamlNode& node, Cluster& c) {
            const auto text = text_of(node);
            if (!text || text->find_first_of(" \"'") != std::string::npos) return false;
            field(c) = *text;
            return true;
          }};
}

template <class Field>
ClusterKey integer_key(const char* name, Launchers launchers, int64_t minimum, Field field) {
  constexpr int64_t kMost = 1000000;
  return {name, std::move(launchers),
          "a whole number, at least " + std::to_string(minimum) + " and at most 1000000",
          [field, minimum](const YamlNode& node, Cluster& c) {
            const auto value = integer_of(node, minimum, kMost);
            if (value) field(c) = *value;
            return value.has_value();
          }};
}

template <class Field>
ClusterKey bool_key(const char* name, Launchers launchers, Field field) {
  return {name, std::move(launchers), "true or false", [field](const YamlNode& node, Cluster& c) {
            const bool known = node.kind == Kind::kScalar && !node.quoted &&
                               (node.scalar == "true" || node.scalar == "false");
            if (known) field(c) = node.scalar == "true";
            return known;
          }};
}

template <class Field>
ClusterKey list_key(const char* name, Launchers launchers, Field field) {
  return {name, std::move(launchers), "a list of texts, each on one line",
          [field](const YamlNode& node, Cluster& c) {
            const auto texts = texts_of(node);
            if (texts) field(c) = *texts;
            return texts.has_value();
          }};
}

template <class Value, class Field>
ClusterKey choice_key(const char* name, Launchers launchers,
                      std::vector<std::pair<std::string, Value>> choices, Field field) {
  std::string expected = "one of:";
  for (const auto& [word, value] : choices) expected += " " + word;
  return {name, std::move(launchers), expected, [field, choices](const YamlNode& node, Cluster& c) {
            for (const auto& [word, value] : choices) {
              if (node.kind != Kind::kScalar || node.scalar != word) continue;
              field(c) = value;
              return true;
            }
            return false;
          }};
}

bool read_environment(const YamlNode& node, Cluster& cluster) {
  if (node.kind != Kind::kMap) return false;
  for (const YamlNode::Entry& entry : node.entries) {
    const bool fits = entry.value.kind == Kind::kScalar && is_plain(entry.value.scalar);
    if (!fits || !is_variable_name(entry.key)) return false;
    cluster.environment.emplace_back(entry.key, entry.value.scalar);
  }
  return true;
}

bool read_time(const YamlNode& node, Cluster& cluster) {
  if (node.kind != Kind::kScalar || time_limit_seconds(node.scalar) <= 0) return false;
  cluster.slurm.time = node.scalar;
  return true;
}

bool is_map(const YamlNode& node, Cluster&) { return node.kind == Kind::kMap; }

void add_common_keys(std::vector<ClusterKey>& t) {
  t.push_back(choice_key<Launcher>(
      "launcher", kAll, {{"mpirun", Launcher::kMpirun}, {"slurm", Launcher::kSlurm}},
      [](Cluster & c) -> auto& { return c.launcher; }));
  t.push_back(integer_key(
      "nodes", kAll, 1, [](Cluster & c) -> auto& { return c.nodes; }));
  t.push_back(integer_key(
      "ranks_per_node", kAll, 1, [](Cluster & c) -> auto& { return c.ranks_per_node; }));
  t.push_back(integer_key(
      "cpus_per_rank", kAll, 1, [](Cluster & c) -> auto& { return c.cpus_per_rank; }));
  t.push_back(integer_key(
      "threads_per_rank", kAll, 1, [](Cluster & c) -> auto& { return c.threads_per_rank; }));
  t.push_back(integer_key(
      "gpus_per_node", kAll, 0, [](Cluster & c) -> auto& { return c.gpus_per_node; }));
  t.push_back(text_key(
      "hardware", kAll, [](Cluster & c) -> auto& { return c.hardware; }));
  t.push_back(choice_key<Binding>(
      "bind", kAll,
      {{"cores", Binding::kCores}, {"sockets", Binding::kSockets}, {"none", Binding::kNone}},
      [](Cluster & c) -> auto& { return c.bind; }));
  t.push_back(list_key(
      "modules", kAll, [](Cluster & c) -> auto& { return c.modules; }));
  t.push_back(list_key(
      "setup", kAll, [](Cluster & c) -> auto& { return c.setup; }));
  t.push_back(
      {"environment", kAll, "names of variables, each with a text on one line", read_environment});
  t.push_back(text_key(
      "program", kAll, [](Cluster & c) -> auto& { return c.program; }));
  t.push_back({"container", kAll, "a map of image, runtime, mounts, options", is_map});
  t.push_back(text_key(
      "container.image", kAll, [](Cluster & c) -> auto& { return c.container.image; }));
  t.push_back(choice_key<ContainerRuntime>(
      "container.runtime", kAll,
      {{"apptainer", ContainerRuntime::kApptainer}, {"pyxis", ContainerRuntime::kPyxis}},
      [](Cluster & c) -> auto& { return c.container.runtime; }));
  t.push_back(list_key(
      "container.mounts", kAll, [](Cluster & c) -> auto& { return c.container.mounts; }));
  t.push_back(list_key(
      "container.options", kAll, [](Cluster & c) -> auto& { return c.container.options; }));
  t.push_back({"restart", kAll, "a map of max", is_map});
  t.push_back(integer_key(
      "restart.max", kAll, 0, [](Cluster & c) -> auto& { return c.max_restarts; }));
}

void add_mpirun_keys(std::vector<ClusterKey>& t) {
  t.push_back(list_key(
      "hosts", kMpirun, [](Cluster & c) -> auto& { return c.mpirun.hosts; }));
  t.push_back(text_key(
      "interface", kMpirun, [](Cluster & c) -> auto& { return c.mpirun.interface; }));
  t.push_back(bool_key(
      "oversubscribe", kMpirun, [](Cluster & c) -> auto& { return c.mpirun.oversubscribe; }));
  t.push_back(integer_key(
      "survivor_seconds", kMpirun, 1,
      [](Cluster & c) -> auto& { return c.mpirun.survivor_seconds; }));
  t.push_back(list_key(
      "mpirun_options", kMpirun, [](Cluster & c) -> auto& { return c.mpirun.options; }));
}

void add_slurm_keys(std::vector<ClusterKey>& t) {
  t.push_back(word_key(
      "partition", [](Cluster & c) -> auto& { return c.slurm.partition; }));
  t.push_back(word_key(
      "account", [](Cluster & c) -> auto& { return c.slurm.account; }));
  t.push_back(word_key(
      "qos", [](Cluster & c) -> auto& { return c.slurm.qos; }));
  t.push_back({"time", kSlurm,
               "minutes, HH:MM:SS or DAYS-HH:MM:SS (quoted, or YAML may read a number)",
               read_time});
  t.push_back(integer_key(
      "stop_before_time_limit", kSlurm, 1,
      [](Cluster & c) -> auto& { return c.slurm.stop_before_time_limit; }));
  t.push_back(word_key(
      "memory", [](Cluster & c) -> auto& { return c.slurm.memory; }));
  t.push_back(word_key(
      "constraint", [](Cluster & c) -> auto& { return c.slurm.constraint; }));
  t.push_back(word_key(
      "reservation", [](Cluster & c) -> auto& { return c.slurm.reservation; }));
  t.push_back(word_key(
      "nodelist", [](Cluster & c) -> auto& { return c.slurm.nodelist; }));
  t.push_back(bool_key(
      "exclusive", kSlurm, [](Cluster & c) -> auto& { return c.slurm.exclusive; }));
  t.push_back(word_key(
      "mpi", [](Cluster & c) -> auto& { return c.slurm.mpi; }));
  t.push_back(integer_key(
      "array_limit", kSlurm, 1, [](Cluster & c) -> auto& { return c.slurm.array_limit; }));
  t.push_back(list_key(
      "sbatch_options", kSlurm, [](Cluster & c) -> auto& { return c.slurm.sbatch_options; }));
  t.push_back(list_key(
      "srun_options", kSlurm, [](Cluster & c) -> auto& { return c.slurm.srun_options; }));
}

std::vector<ClusterKey> make_keys() {
  std::vector<ClusterKey> table;
  add_common_keys(table);
  add_mpirun_keys(table);
  add_slurm_keys(table);
  return table;
}

}  // namespace

const std::vector<ClusterKey>& cluster_keys() {
  static const std::vector<ClusterKey> table = make_keys();
  return table;
}

}  // namespace hone::launch
