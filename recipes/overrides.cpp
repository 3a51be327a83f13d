#include "recipes/overrides.h"

#include <algorithm>
#include <charconv>

#include "core/text.h"
#include "recipes/schema.h"

namespace hone::recipes {
namespace {

using core::YamlNode;

// The key that `name` is another tool's word for, or null.
const KeySpec* find_alias(const std::string& name) {
  for (const KeySpec& key : recipe_schema()) {
    if (std::find(key.aliases.begin(), key.aliases.end(), name) != key.aliases.end()) return &key;
  }
  return nullptr;
}

// One step of a path: a key, or an index into a list.
struct Step {
  std::string key;
  size_t index = 0;
  bool is_index = false;
};

// "datasets[0].path" and "datasets.0.path" alike.
std::vector<Step> split_path(const std::string& path) {
  std::vector<Step> steps;
  size_t from = 0;
  while (from <= path.size()) {
    const size_t end = std::min(path.find_first_of(".[]", from), path.size());
    const std::string part = path.substr(from, end - from);
    from = end + 1;
    if (part.empty()) continue;
    Step step{.key = part};
    const auto [last, error] = std::from_chars(part.data(), part.data() + part.size(), step.index);
    step.is_index = error == std::errc() && last == part.data() + part.size();
    steps.push_back(std::move(step));
  }
  return steps;
}

std::string join_path(const std::vector<Step>& steps, bool with_indices) {
  std::string name;
  for (const Step& step : steps) {
    if (step.is_index) {
      name += with_indices ? "[" + step.key + "]" : "[]";
    } else {
      name += (name.empty() ? "" : ".") + step.key;
    }
  }
  return name;
}

void set_line(YamlNode& node, int line) {
  node.line = line;
  for (YamlNode& item : node.items) set_line(item, line);
  for (YamlNode::Entry& entry : node.entries) {
    entry.line = line;
    set_line(entry.value, line);
  }
}

// The node at a path, made as needed. Null when an index is past the end of its list.
YamlNode* node_at(YamlNode& root, const std::vector<Step>& steps, int line) {
  YamlNode* node = &root;
  for (const Step& step : steps) {
    if (step.is_index) {
      if (node->kind != YamlNode::Kind::kSequence)
        *node = {.kind = YamlNode::Kind::kSequence, .line = line};
      if (step.index > node->items.size()) return nullptr;
      if (step.index == node->items.size()) node->items.push_back({.line = line});
      node = &node->items[step.index];
      continue;
    }
    if (node->kind != YamlNode::Kind::kMap) *node = {.kind = YamlNode::Kind::kMap, .line = line};
    auto found = std::find_if(node->entries.begin(), node->entries.end(),
                              [&](const YamlNode::Entry& e) { return e.key == step.key; });
    if (found == node->entries.end()) {
      node->entries.push_back({step.key, line, {.line = line}});
      found = node->entries.end() - 1;
    }
    node = &found->value;
  }
  return node;
}

const YamlNode::Entry* find_entry(const std::vector<YamlNode::Entry>& entries,
                                  const std::string& key) {
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [&](const YamlNode::Entry& e) { return e.key == key; });
  return found == entries.end() ? nullptr : &*found;
}

struct Renamer {
  const std::string& path;
  CheckedRecipe& checked;
  std::vector<Problem>& problems;
  std::vector<std::pair<std::string, YamlNode::Entry>> moved = {};  // to another map, by full name

  void note(int line, const std::string& text) {
    checked.notes.push_back(path + ":" + std::to_string(line) + ": " + text);
  }

  void rename(YamlNode& map, const std::string& prefix) {
    std::vector<YamlNode::Entry> kept;
    for (YamlNode::Entry& entry : map.entries) {
      const KeySpec* key = find_key(prefix + entry.key);
      const KeySpec* alias = key == nullptr ? find_alias(prefix + entry.key) : nullptr;
      if (alias == nullptr) {
        kept.push_back(std::move(entry));
        continue;
      }
      note(entry.line, "'" + entry.key + "' is taken as '" + alias->name + "'");
      const bool stays = alias->name.starts_with(prefix) &&
                         alias->name.find('.', prefix.size()) == std::string::npos;
      if (!stays) {
        moved.emplace_back(alias->name, std::move(entry));
        continue;
      }
      const std::string name = alias->name.substr(prefix.size());
      const YamlNode::Entry* other = find_entry(kept, name);
      if (other == nullptr) other = find_entry(map.entries, name);
      if (other != nullptr) {
        problems.push_back({entry.line, "",
                            entry.key + ": is another name of '" + name + "', which is on line " +
                                std::to_string(other->line)});
        continue;
      }
      entry.key = name;
      kept.push_back(std::move(entry));
    }
    map.entries = std::move(kept);
    for (YamlNode::Entry& entry : map.entries) descend(entry, prefix);
  }

  void descend(YamlNode::Entry& entry, const std::string& prefix) {
    const KeySpec* key = find_key(prefix + entry.key);
    if (key == nullptr) return;
    if (key->type == ValueType::kMap && entry.value.kind == YamlNode::Kind::kScalar &&
        entry.value.scalar == "lora") {
      note(entry.line, "'adapter: lora' is taken as 'adapter: {type: lora}'");
      YamlNode map{.kind = YamlNode::Kind::kMap, .line = entry.line};
      map.entries.push_back({"type", entry.line, std::move(entry.value)});
      entry.value = std::move(map);
    }
    if (key->type == ValueType::kMap) rename(entry.value, key->name + ".");
    if (key->type == ValueType::kMapList) {
      for (YamlNode& item : entry.value.items) rename(item, key->name + "[].");
    }
  }

  void place_moved(YamlNode& root) {
    for (auto& [name, entry] : moved) {
      YamlNode* node = node_at(root, split_path(name), entry.line);
      if (node->kind != YamlNode::Kind::kNull) {
        problems.push_back({entry.line, "",
                            entry.key + ": is another name of '" + name + "', which is on line " +
                                std::to_string(node->line)});
        continue;
      }
      *node = std::move(entry.value);
    }
  }
};

}  // namespace

void rename_aliases(YamlNode& root, const std::string& path, CheckedRecipe& checked,
                    std::vector<Problem>& problems) {
  Renamer renamer{path, checked, problems};
  renamer.rename(root, "");
  renamer.place_moved(root);
}

std::string override_place(const std::string& assignment) {
  return "--set " + core::excerpt(assignment.substr(0, assignment.find('=')), 60);
}

void apply_overrides(YamlNode& root, const std::vector<std::string>& overrides,
                     CheckedRecipe& checked, std::vector<Problem>& problems) {
  for (size_t i = 0; i < overrides.size(); ++i) {
    const std::string& text = overrides[i];
    const std::string where = override_place(text);
    const size_t equals = text.find('=');
    auto steps = split_path(text.substr(0, equals));
    if (equals == std::string::npos || steps.empty()) {
      problems.push_back({0, where, "got '" + core::excerpt(text, 60) + "', expected key=value"});
      continue;
    }
    if (const KeySpec* alias = find_alias(join_path(steps, false));
        alias != nullptr && find_key(join_path(steps, false)) == nullptr) {
      checked.notes.push_back(where + ": is taken as '" + alias->name + "'");
      auto renamed = split_path(alias->name);
      if (steps.size() == 3 && steps[1].is_index) renamed.insert(renamed.begin() + 1, steps[1]);
      steps = std::move(renamed);
    }
    std::vector<core::YamlProblem> yaml_problems;
    YamlNode value = core::parse_yaml(text.substr(equals + 1), yaml_problems);
    for (const auto& p : yaml_problems)
      problems.push_back({0, where, join_path(steps, true) + ": " + p.message});
    if (!yaml_problems.empty()) continue;
    const int line = -1 - static_cast<int>(i);
    set_line(value, line);
    YamlNode* node = node_at(root, steps, line);
    if (node == nullptr) {
      problems.push_back({0, where, join_path(steps, true) + ": the list has no such entry"});
      continue;
    }
    *node = std::move(value);
  }
}

}  // namespace hone::recipes
