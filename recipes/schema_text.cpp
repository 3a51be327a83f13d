// The schema as text for people and editors.
#include <cmath>
#include <cstdio>

#include "core/text.h"
#include "recipes/schema.h"
#include "recipes/yaml_value.h"

namespace hone::recipes {
namespace {

using core::Json;
using enum ValueType;

std::string plain_number(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.16g", value);
  return buffer;
}

// "at least 1", "above 0 and below 1", or "".
std::string range_text(const KeySpec& key) {
  std::vector<std::string> parts;
  if (std::isfinite(key.minimum)) {
    parts.push_back((key.exclusive_minimum ? "above " : "at least ") + plain_number(key.minimum));
  }
  if (std::isfinite(key.maximum)) {
    parts.push_back((key.exclusive_maximum ? "below " : "at most ") + plain_number(key.maximum));
  }
  return core::join(parts, " and ");
}

std::string type_text(const KeySpec& key) {
  switch (key.type) {
    case kBool:
      return "true or false";
    case kInteger:
      return "a whole number";
    case kNumber:
      return "a number";
    case kText:
      return "text";
    case kChoice:
      return "one of " + core::join(key.choices, ", ");
    case kTextList:
      return "a list of text";
    case kTextOrList:
      return "text or a list of text";
    case kTextMap:
      return "a map of text";
    case kMap:
      return "a map";
    case kMapList:
      return "a list of maps";
  }
  return "";
}

Json schema_of(const KeySpec& key);

Json map_schema(const std::string& prefix) {
  Json properties = Json::object(), required = Json::array();
  for (const std::string& name : keys_below(prefix)) {
    const KeySpec& key = *find_key(prefix + name);
    properties[name] = schema_of(key);
    if (key.required) required.push_back(name);
  }
  Json schema{
      {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
  if (!required.empty()) schema["required"] = std::move(required);
  return schema;
}

Json schema_of(const KeySpec& key) {
  Json schema;
  const Json text{{"type", "string"}}, texts{{"type", "array"}, {"items", text}};
  switch (key.type) {
    case kBool:
      schema = {{"type", "boolean"}};
      break;
    case kInteger:
      schema = {{"type", "integer"}};
      break;
    case kNumber:
      schema = {{"type", "number"}};
      break;
    case kText:
      schema = text;
      break;
    case kChoice:
      schema = {{"enum", key.choices}};
      break;
    case kTextList:
      schema = texts;
      break;
    case kTextOrList:
      schema = {{"anyOf", Json::array({text, texts})}};
      break;
    case kTextMap:
      schema = {{"type", "object"}, {"additionalProperties", text}};
      break;
    case kMap:
      schema = map_schema(key.name + ".");
      break;
    case kMapList:
      schema = {{"type", "array"}, {"items", map_schema(key.name + "[].")}, {"minItems", 1}};
      break;
  }
  if (std::isfinite(key.minimum))
    schema[key.exclusive_minimum ? "exclusiveMinimum" : "minimum"] = key.minimum;
  if (std::isfinite(key.maximum))
    schema[key.exclusive_maximum ? "exclusiveMaximum" : "maximum"] = key.maximum;
  schema["description"] = key.doc;
  if (!key.default_value.empty()) schema["default"] = default_of(key);
  return schema;
}

void append_row(std::string& text, const KeySpec& key) {
  std::string value = type_text(key);
  const std::string range = range_text(key);
  if (!range.empty()) value += ", " + range;
  const std::string standard = key.required                ? "required"
                               : key.default_value.empty() ? ""
                                                           : "`" + key.default_value + "`";
  std::string doc = key.doc;
  if (!key.aliases.empty()) doc += " Also: `" + core::join(key.aliases, "`, `") + "`.";
  text += "| `" + key.name + "` | " + value + " | " + standard + " | " + doc + " |\n";
}

}  // namespace

std::string expected_text(const KeySpec& key) {
  const std::string range = range_text(key);
  return range.empty() ? type_text(key) : type_text(key) + ", " + range;
}

Json recipe_json_schema() {
  Json schema{{"$schema", "https://json-schema.org/draft/2020-12/schema"},
              {"title", "hone recipe"}};
  schema.update(map_schema(""));
  return schema;
}

std::string recipe_reference() {
  std::string text =
      "# Recipe reference\n\n"
      "<!-- Generated: hone recipe docs > docs/recipe_reference.md -->\n\n"
      "A recipe is one YAML file, complete in itself. An unknown key is an error. `hone validate "
      "RECIPE` reports everything that is\n"
      "wrong with it at once; `--set key=value` overrides a key (`--set adapter.r=8`, `--set "
      "datasets[0].path=rows.jsonl`);\n"
      "`hone recipe schema` prints a JSON Schema for editors. Names other tools use are accepted "
      "with a note: they follow \"Also\".\n"
      "Numbers may be written as `1e-4`. Relative paths start where hone is started.\n";
  std::string section;
  for (const KeySpec& key : recipe_schema()) {
    if (key.name.starts_with("eval_datasets[]")) continue;  // the same as datasets[]
    if (key.section != section) {
      section = key.section;
      text += "\n## " + section + "\n\n| key | value | default | |\n|---|---|---|---|\n";
    }
    append_row(text, key);
  }
  return text;
}

}  // namespace hone::recipes
