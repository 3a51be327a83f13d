#include "recipes/yaml_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "core/text.h"

namespace hone::recipes {
namespace {

using core::Json;
using core::YamlNode;
using enum ValueType;

std::optional<bool> parse_bool(const std::string& text) {
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  return std::nullopt;
}

std::optional<double> parse_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // from_chars also reads "inf" and "nan".
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

std::optional<int64_t> parse_integer(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  constexpr double kExact = 9007199254740992.0;  // 2^53: "1e3" means 1000
  const auto number = parse_number(text);
  if (!number || *number != std::floor(*number) || std::abs(*number) > kExact) return std::nullopt;
  return static_cast<int64_t>(*number);
}

bool in_range(double value, const KeySpec& key) {
  return (key.exclusive_minimum ? value > key.minimum : value >= key.minimum) &&
         (key.exclusive_maximum ? value < key.maximum : value <= key.maximum);
}

bool looks_numeric(const YamlNode& node) {
  return node.kind == YamlNode::Kind::kScalar && node.quoted &&
         parse_number(node.scalar).has_value();
}

std::optional<Json> scalar_value(const YamlNode& node, const KeySpec& key) {
  if (node.kind != YamlNode::Kind::kScalar) return std::nullopt;
  if (key.type == kText || key.type == kTextOrList) {
    return node.scalar.empty() ? std::nullopt : std::optional<Json>(node.scalar);
  }
  if (key.type == kChoice) {
    const bool known =
        std::find(key.choices.begin(), key.choices.end(), node.scalar) != key.choices.end();
    return known ? std::optional<Json>(node.scalar) : std::nullopt;
  }
  if (node.quoted) return std::nullopt;
  if (key.type == kBool) {
    const auto value = parse_bool(node.scalar);
    return value ? std::optional<Json>(*value) : std::nullopt;
  }
  if (key.type == kInteger) {
    const auto value = parse_integer(node.scalar);
    return value && in_range(static_cast<double>(*value), key) ? std::optional<Json>(*value)
                                                               : std::nullopt;
  }
  const auto value = parse_number(node.scalar);
  return value && in_range(*value, key) ? std::optional<Json>(*value) : std::nullopt;
}

std::string mismatch(const YamlNode& node, const KeySpec& key) {
  std::string message = "got " + describe(node) + ", expected " + expected_text(key);
  const bool wants_plain = key.type == kBool || key.type == kInteger || key.type == kNumber;
  if (wants_plain && (looks_numeric(node) || (node.quoted && parse_bool(node.scalar)))) {
    message += " (quoted, it is text: take the quotes away)";
  }
  if (key.type == kChoice && node.kind == YamlNode::Kind::kScalar) {
    const std::string suggestion = core::did_you_mean(node.scalar, key.choices);
    if (!suggestion.empty()) message += ", did you mean '" + suggestion + "'?";
  }
  if (key.type == kTextMap || key.type == kTextList)
    message += " (for example " +
               std::string(key.type == kTextMap ? "{prompt: question}" : "[first, second]") + ")";
  return message;
}

std::optional<Json> text_list(const YamlNode& node, const KeySpec& key, ValueProblem& problem) {
  Json list = Json::array();
  for (const YamlNode& item : node.items) {
    if (item.kind != YamlNode::Kind::kScalar || item.scalar.empty()) {
      problem = {item.line, "got " + describe(item) + " in the list, expected text"};
      return std::nullopt;
    }
    list.push_back(item.scalar);
  }
  if (list.empty() && key.type == kTextOrList) {
    problem = {node.line, "got an empty list, expected " + expected_text(key)};
    return std::nullopt;
  }
  return list;
}

std::optional<Json> text_map(const YamlNode& node, ValueProblem& problem) {
  Json map = Json::object();
  for (const YamlNode::Entry& entry : node.entries) {
    if (entry.value.kind != YamlNode::Kind::kScalar) {
      problem = {entry.line, "got " + describe(entry.value) + " for '" +
                                 core::excerpt(entry.key, 40) + "', expected text"};
      return std::nullopt;
    }
    map[entry.key] = entry.value.scalar;
  }
  return map;
}

bool is_plain_text(const std::string& text) {
  static constexpr std::string_view kSafe =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./@+-";
  static constexpr std::string_view kWords[] = {"null", "Null", "NULL", "yes", "no", "on", "off"};
  if (text.empty() || text.find_first_not_of(kSafe) != std::string::npos) return false;
  if (text[0] == '-' || text[0] == '@' || parse_number(text) || parse_bool(text)) return false;
  return std::find(std::begin(kWords), std::end(kWords), text) == std::end(kWords);
}

std::string flow_text(const Json& value) {
  if (value.is_string()) {
    const std::string text = value.get<std::string>();
    return is_plain_text(text) ? text : value.dump();
  }
  if (value.is_array() || value.is_object()) {
    std::vector<std::string> parts;
    for (const auto& [name, item] : value.items()) {
      parts.push_back(value.is_object() ? flow_text(Json(name)) + ": " + flow_text(item)
                                        : flow_text(item));
    }
    return value.is_object() ? "{" + core::join(parts, ", ") + "}"
                             : "[" + core::join(parts, ", ") + "]";
  }
  return value.dump();
}

void append_map(std::string& text, const Json& map, size_t indent, bool in_list) {
  bool first = true;
  for (const auto& [name, value] : map.items()) {
    if (value.is_null()) continue;
    text += first && in_list ? std::string(indent - 2, ' ') + "- " : std::string(indent, ' ');
    first = false;
    const bool is_map_list = value.is_array() && !value.empty() && value[0].is_object();
    text += flow_text(Json(name)) + ":";
    if (is_map_list) {
      text += "\n";
      for (const Json& item : value) append_map(text, item, indent + 4, true);
    } else if (value.is_object() && !in_list) {
      text += "\n";
      append_map(text, value, indent + 2, false);
    } else {
      text += " " + flow_text(value) + "\n";
    }
  }
}

}  // namespace

std::optional<Json> value_of(const YamlNode& node, const KeySpec& key, ValueProblem& problem) {
  if (node.kind == YamlNode::Kind::kSequence &&
      (key.type == kTextList || key.type == kTextOrList)) {
    return text_list(node, key, problem);
  }
  if (node.kind == YamlNode::Kind::kMap && key.type == kTextMap) return text_map(node, problem);
  std::optional<Json> value;
  if (key.type != kTextList && key.type != kTextMap) value = scalar_value(node, key);
  if (!value) problem = {node.line, mismatch(node, key)};
  return value;
}

Json default_of(const KeySpec& key) {
  if (key.default_value.empty()) return nullptr;
  std::vector<core::YamlProblem> problems;
  ValueProblem problem;
  const auto value = value_of(core::parse_yaml(key.default_value, problems), key, problem);
  if (!value) {
    core::fail(core::ErrorKind::kInternal,
               {.what = "default of " + key.name + ": " + problem.message});
  }
  return *value;
}

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
  const std::string text = core::excerpt(node.scalar, 60);
  return node.quoted ? "\"" + text + "\"" : "'" + text + "'";
}

std::string dump_yaml(const Json& map) {
  std::string text;
  append_map(text, map, 0, false);
  return text;
}

}  // namespace hone::recipes
