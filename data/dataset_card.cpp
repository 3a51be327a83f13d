#include "data/dataset_card.h"

#include <algorithm>

#include "core/error.h"
#include "core/yaml.h"

namespace hone::data {
namespace {

using core::YamlNode;
using Kind = YamlNode::Kind;

// The text between the first line `---` and the next one; empty if the card does not begin so.
std::string front_matter(const std::string& card) {
  std::string text = card.starts_with("\xEF\xBB\xBF") ? card.substr(3) : card;
  std::erase(text, '\r');
  if (!text.starts_with("---\n")) return "";
  const size_t end = text.find("\n---", 3);
  return end == std::string::npos ? "" : text.substr(4, end - 3);
}

class CardReader {
 public:
  explicit CardReader(std::string where) : where_(std::move(where)) {}

  std::vector<DatasetConfig> read(const YamlNode& configs) const {
    if (configs.kind != Kind::kSequence) refuse(configs, "configs: expected a list");
    std::vector<DatasetConfig> result;
    for (const YamlNode& item : configs.items) {
      if (item.kind != Kind::kMap) refuse(item, "configs: expected a map with config_name");
      DatasetConfig config{.name = text(item, "config_name", "default"),
                           .is_default = text(item, "default", "false") == "true",
                           .data_dir = text(item, "data_dir", "")};
      if (const YamlNode* files = item.find("data_files")) config.splits = read_files(*files);
      result.push_back(std::move(config));
    }
    return result;
  }

  [[noreturn]] void refuse(const YamlNode& node, const std::string& what) const {
    core::fail(
        core::ErrorKind::kBadInput,
        {.what = "README.md:" + std::to_string(node.line + 1) + ": " + what, .where = where_});
  }

 private:
  std::string text(const YamlNode& map, const char* key, const std::string& otherwise) const {
    const YamlNode* node = map.find(key);
    if (node == nullptr || node->kind == Kind::kNull) return otherwise;
    if (node->kind != Kind::kScalar) refuse(*node, std::string(key) + ": expected text");
    return node->scalar;
  }

  std::vector<std::string> patterns(const YamlNode& node) const {
    if (node.kind == Kind::kScalar) return {node.scalar};
    if (node.kind != Kind::kSequence) refuse(node, "data_files: expected a path or a list of them");
    std::vector<std::string> result;
    for (const YamlNode& item : node.items) {
      if (item.kind != Kind::kScalar) refuse(item, "data_files: expected a path");
      result.push_back(item.scalar);
    }
    return result;
  }

  std::vector<SplitPatterns> read_files(const YamlNode& files) const {
    const bool by_split =
        files.kind == Kind::kSequence && std::ranges::any_of(files.items, [](const YamlNode& item) {
          return item.kind == Kind::kMap;
        });
    std::vector<SplitPatterns> splits;
    if (files.kind == Kind::kMap) {
      for (const auto& entry : files.entries) splits.push_back({entry.key, patterns(entry.value)});
    } else if (by_split) {
      for (const YamlNode& item : files.items) {
        const YamlNode* path = item.find("path");
        const std::string split = text(item, "split", "");
        if (path == nullptr || split.empty()) refuse(item, "data_files: expected {split, path}");
        splits.push_back({split, patterns(*path)});
      }
    } else if (files.kind != Kind::kNull) {
      splits.push_back({"train", patterns(files)});
    }
    return splits;
  }

  std::string where_;
};

}  // namespace

std::vector<DatasetConfig> read_dataset_configs(const std::string& card, const std::string& where) {
  const std::string front = front_matter(card);
  if (("\n" + front).find("\nconfigs:") == std::string::npos) return {};
  std::vector<core::YamlProblem> problems;
  const YamlNode root = core::parse_yaml(front, problems);
  const YamlNode* configs = root.find("configs");
  const CardReader reader(where);
  if (configs == nullptr) {
    const std::string why = problems.empty() ? "can't be read" : problems[0].message;
    reader.refuse({.line = problems.empty() ? 0 : problems[0].line}, why);
  }
  return reader.read(*configs);
}

}  // namespace hone::data
