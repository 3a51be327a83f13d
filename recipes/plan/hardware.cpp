#include "recipes/plan/hardware.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "core/yaml.h"
#include "recipes/plan/hardware_files.h"

namespace hone::recipes {
namespace {

using core::ErrorKind;
using core::YamlNode;

struct NumberKey {
  const char* name;
  double Hardware::*value;
  double least, most;
};

constexpr double kMost = 1e20;
constexpr std::array<NumberKey, 11> kNumbers{
    {{"memory_bytes", &Hardware::memory_bytes, 1, kMost},
     {"reserved_bytes", &Hardware::reserved_bytes, 0, kMost},
     {"bfloat16_flops", &Hardware::bfloat16_flops, 1, kMost},
     {"float32_flops", &Hardware::float32_flops, 1, kMost},
     {"matmul_share", &Hardware::matmul_share, 1e-3, 1},
     {"attention_share", &Hardware::attention_share, 1e-3, 1},
     {"efficiency", &Hardware::efficiency, 1e-3, 1},
     {"memory_bandwidth", &Hardware::memory_bandwidth, 1, kMost},
     {"link_bandwidth", &Hardware::link_bandwidth, 1, kMost},
     {"network_bandwidth", &Hardware::network_bandwidth, 1, kMost},
     {"latency_seconds", &Hardware::latency_seconds, 0, 1}}};

class Reader {
 public:
  Reader(const YamlNode& root, std::string where) : root_(root), where_(std::move(where)) {}

  void report(int line, const std::string& message) {
    problems_.push_back(where_ + ":" + std::to_string(line) + ": " + message);
  }

  const YamlNode* scalar(const char* key) {
    known_.emplace_back(key);
    const YamlNode* node = root_.find(key);
    if (node != nullptr && node->kind == YamlNode::Kind::kScalar) return node;
    report(node == nullptr ? root_.line : node->line,
           std::string(key) + (node == nullptr ? ": missing" : ": expected one value"));
    return nullptr;
  }

  std::string text(const char* key) {
    const YamlNode* node = scalar(key);
    return node == nullptr ? "" : node->scalar;
  }

  double number(const char* key, double least, double most) {
    const YamlNode* node = scalar(key);
    if (node == nullptr) return least;
    double value = 0;
    size_t end = 0;
    try {
      value = std::stod(node->scalar, &end);
    } catch (const std::exception&) {
      end = 0;
    }
    const bool is_number = end == node->scalar.size() && end > 0 && !node->quoted;
    if (is_number && value >= least && value <= most) return value;
    report(node->line, std::string(key) + ": got '" + core::excerpt(node->scalar, 40) +
                           "', expected a number from " + shown(least) + " to " + shown(most));
    return least;
  }

  void finish() {
    for (const YamlNode::Entry& entry : root_.entries) {
      if (std::find(known_.begin(), known_.end(), entry.key) != known_.end()) continue;
      const std::string near = core::did_you_mean(entry.key, known_);
      report(entry.line, core::excerpt(entry.key, 60) + ": unknown key" +
                             (near.empty() ? "" : ", did you mean '" + near + "'?"));
    }
    if (!problems_.empty())
      core::fail(ErrorKind::kBadRecipe, {.what = core::join(problems_, "\n")});
  }

 private:
  static std::string shown(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", value);
    return text;
  }

  const YamlNode& root_;
  const std::string where_;
  std::vector<std::string> known_, problems_;
};

}  // namespace

Hardware parse_hardware(const std::string& text, const std::string& name,
                        const std::string& where) {
  std::vector<core::YamlProblem> yaml_problems;
  const YamlNode root = core::parse_yaml(text, yaml_problems);
  Reader reader(root, where);
  for (const core::YamlProblem& problem : yaml_problems)
    reader.report(problem.line, problem.message);
  Hardware hardware{.name = name};
  hardware.description = reader.text("description");
  const std::string kind = reader.text("kind");
  hardware.is_gpu = kind == "gpu";
  if (!kind.empty() && kind != "gpu" && kind != "cpu") {
    reader.report(root.find("kind")->line, "kind: got '" + kind + "', expected gpu or cpu");
  }
  for (const NumberKey& key : kNumbers)
    hardware.*key.value = reader.number(key.name, key.least, key.most);
  constexpr double kMostRanks = 4096;
  const double ranks = reader.number("ranks_per_node", 1, kMostRanks);
  hardware.ranks_per_node = static_cast<int64_t>(std::floor(ranks));
  reader.finish();
  return hardware;
}

std::vector<std::string> hardware_names() {
  std::vector<std::string> names;
  for (const HardwareFile& file : hardware_files()) names.emplace_back(file.name);
  return names;
}

Hardware find_hardware(const std::string& name, const std::string& where) {
  if (name.ends_with(".yaml")) {
    constexpr uint64_t kMaxBytes = uint64_t{1} << 20;
    return parse_hardware(core::read_file(name, kMaxBytes), name, name);
  }
  for (const HardwareFile& file : hardware_files()) {
    if (file.name == name)
      return parse_hardware(std::string(file.text), name, "configs/hardware/" + name + ".yaml");
  }
  const std::string near = core::did_you_mean(name, hardware_names());
  core::fail(ErrorKind::kUsage,
             {.what = "no such hardware",
              .where = where,
              .got = "'" + name + "'",
              .expected = core::join(hardware_names(), ", ") + ", or a file that ends in .yaml",
              .hint = near.empty() ? "" : "did you mean '" + near + "'?"});
}

}  // namespace hone::recipes
