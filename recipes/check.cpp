#include "recipes/check.h"

#include <algorithm>

#include "core/error.h"
#include "core/text.h"
#include "recipes/overrides.h"
#include "recipes/schema.h"
#include "recipes/yaml_value.h"

namespace hone::recipes {
namespace {

using core::Json;
using core::YamlNode;

constexpr const char* kListExample = " (for example [{path: rows.jsonl, format: messages}])";

class Checker {
 public:
  Checker(const std::vector<std::string>& overrides, CheckedRecipe& checked,
          std::vector<Problem>& problems)
      : overrides_(overrides), checked_(checked), problems_(problems) {}

  // `prefix` is the schema's ("datasets[]."), `path` the reader's ("datasets[0].").
  Json map(const YamlNode& node, const std::string& prefix, const std::string& path) {
    const std::vector<std::string> names = keys_below(prefix);
    for (const YamlNode::Entry& entry : node.entries) {
      if (find_key(prefix + entry.key) == nullptr ||
          entry.key.find_first_of(".[") != std::string::npos) {
        report_unknown(entry, prefix, path, names);
      }
    }
    Json values = Json::object();
    for (const std::string& name : names) {
      values[name] = value(node, name, *find_key(prefix + name), path + name);
    }
    return values;
  }

  Place place(int line) const {
    if (line >= 0) return {line, ""};
    return {0, override_place(overrides_[static_cast<size_t>(-1 - line)])};
  }

  void report(int line, const std::string& message) {
    const Place at = place(line);
    problems_.push_back({at.line, at.where, message});
  }

 private:
  Json value(const YamlNode& parent, const std::string& name, const KeySpec& key,
             const std::string& path) {
    const YamlNode* node = parent.find(name);
    if (node == nullptr || node->kind == YamlNode::Kind::kNull) {
      if (key.required) {
        report(node != nullptr ? node->line : parent.line,
               path + ": " + (node != nullptr ? "got nothing" : "missing") + ", expected " +
                   expected_text(key));
      }
      return default_of(key);
    }
    checked_.places[path] = place(node->line);
    if (key.type == ValueType::kMap) return nested(*node, key, path);
    if (key.type == ValueType::kMapList) return list(*node, key, path);
    ValueProblem problem;
    const auto read = value_of(*node, key, problem);
    if (read) return *read;
    report(problem.line, path + ": " + problem.message);
    return default_of(key);
  }

  Json nested(const YamlNode& node, const KeySpec& key, const std::string& path) {
    if (node.kind != YamlNode::Kind::kMap) {
      report(node.line, path + ": got " + describe(node) + ", expected a map of " +
                            core::join(keys_below(key.name + "."), ", "));
      return nullptr;
    }
    return map(node, key.name + ".", path + ".");
  }

  Json list(const YamlNode& node, const KeySpec& key, const std::string& path) {
    if (node.kind != YamlNode::Kind::kSequence || node.items.empty()) {
      const std::string got =
          node.kind == YamlNode::Kind::kSequence ? "an empty list" : describe(node);
      report(node.line, path + ": got " + got + ", expected a list of maps" + kListExample);
      return nullptr;
    }
    Json items = Json::array();
    for (size_t i = 0; i < node.items.size(); ++i) {
      items.push_back(item(node.items[i], key, path + "[" + std::to_string(i) + "]"));
    }
    return items;
  }

  Json item(const YamlNode& node, const KeySpec& key, const std::string& path) {
    checked_.places[path] = place(node.line);
    if (node.kind == YamlNode::Kind::kMap) return map(node, key.name + "[].", path + ".");
    report(node.line, path + ": got " + describe(node) + ", expected a map" + kListExample);
    return nullptr;
  }

  void report_unknown(const YamlNode::Entry& entry, const std::string& prefix,
                      const std::string& path, const std::vector<std::string>& names) {
    std::string message = path + core::excerpt(entry.key, 60) + ": unknown key";
    std::string suggestion = core::did_you_mean(entry.key, names);
    if (suggestion.empty()) suggestion = elsewhere(entry.key, prefix);
    if (!suggestion.empty()) message += ", did you mean '" + suggestion + "'?";
    report(entry.line, message);
  }

  // A key that stands at the wrong level: "r" at the top is "adapter.r".
  static std::string elsewhere(const std::string& name, const std::string& prefix) {
    for (const KeySpec& key : recipe_schema()) {
      const size_t dot = key.name.rfind('.');
      const std::string last = dot == std::string::npos ? key.name : key.name.substr(dot + 1);
      if (last == name && !key.name.starts_with(prefix.empty() ? "\n" : prefix)) return key.name;
    }
    return "";
  }

  const std::vector<std::string>& overrides_;
  CheckedRecipe& checked_;
  std::vector<Problem>& problems_;
};

// "recipe.yaml:3: seed: got ...", "--set seed: got ...".
std::string problem_line(const Problem& problem, const std::string& path) {
  if (problem.where.empty()) {
    return path + ":" + std::to_string(problem.line) + ": " + problem.message;
  }
  const size_t colon = problem.message.find(": ");
  const bool repeats =
      colon != std::string::npos && problem.where.ends_with(" " + problem.message.substr(0, colon));
  return problem.where + ": " + (repeats ? problem.message.substr(colon + 2) : problem.message);
}

}  // namespace

Problem problem_at(const std::map<std::string, Place>& places, const std::string& key,
                   const std::string& message) {
  const auto place = places.find(key);
  const Place at = place == places.end() ? Place{1, ""} : place->second;
  return {at.line, at.where, key + ": " + message};
}

void throw_problems(std::vector<Problem> problems, const std::string& path) {
  if (problems.empty()) return;
  std::stable_sort(problems.begin(), problems.end(), [](const Problem& a, const Problem& b) {
    if (a.where.empty() != b.where.empty()) return a.where.empty();
    return a.line < b.line;
  });
  const size_t n = problems.size();
  std::string text =
      (n == 1 ? "1 problem" : std::to_string(n) + " problems") + std::string(" in the recipe");
  for (const Problem& p : problems) text += "\n" + problem_line(p, path);
  core::fail(core::ErrorKind::kBadRecipe, {.what = text});
}

CheckedRecipe check_recipe(YamlNode root, const std::vector<std::string>& overrides,
                           const std::string& path, std::vector<Problem>& problems) {
  CheckedRecipe checked;
  if (root.kind == YamlNode::Kind::kNull) root = {.kind = YamlNode::Kind::kMap, .line = 1};
  if (root.kind != YamlNode::Kind::kMap) {
    problems.push_back({root.line, "", "got " + describe(root) + ", expected key: value lines"});
    return checked;
  }
  root.line = 1;  // where a missing key is reported
  rename_aliases(root, path, checked, problems);
  apply_overrides(root, overrides, checked, problems);
  checked.values = Checker(overrides, checked, problems).map(root, "", "");
  return checked;
}

}  // namespace hone::recipes
