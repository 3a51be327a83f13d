// A strict YAML reader: every node knows its line, duplicate keys are errors, aliases and depth are
// budgeted. Built on yaml-cpp's event interface.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone::core {

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };
  Kind kind = Kind::kNull;
  int line = 0;                 // 1-based line of the value
  std::string scalar;           // kScalar: the text as written, without quotes
  bool quoted = false;          // kScalar: quoted scalars are always strings
  std::vector<YamlNode> items;  // kSequence
  struct Entry;
  std::vector<Entry> entries;  // kMap, in file order
  const YamlNode* find(std::string_view key) const;
};

struct YamlNode::Entry {
  std::string key;
  int line = 0;  // 1-based line of the key
  YamlNode value;
};

struct YamlProblem {
  int line = 0;
  std::string message;
};

// Parses one document (at most 1 MiB, depth 64, 100,000 nodes after aliases are expanded). What
// can't be parsed, and each duplicate key (both line numbers), is added to `problems`; the node
// holds what could be read.
YamlNode parse_yaml(std::string_view text, std::vector<YamlProblem>& problems);

}  // namespace hone::core
