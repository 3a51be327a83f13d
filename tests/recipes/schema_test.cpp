#include "recipes/schema.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "core/yaml.h"
#include "recipes/yaml_value.h"
#include "tests/recipes/support.h"
#include "tests/support/paths.h"

namespace hone::recipes {
namespace {

using core::Json;

const std::filesystem::path kSource = test::kSourceDir;

TEST(Schema, TheKeysAreTheGoldenOnes) {
  std::string keys;
  for (const KeySpec& key : recipe_schema()) keys += key.name + "\n";
  EXPECT_EQ(keys, test::slurp(kSource / "tests/recipes/keys.txt"))
      << "a key users rely on came, went or moved: change keys.txt only on purpose";
}

TEST(Schema, ReferenceInDocsIsUpToDate) {
  EXPECT_EQ(recipe_reference(), test::slurp(kSource / "docs/recipe_reference.md"))
      << "run: hone recipe docs > docs/recipe_reference.md";
}

TEST(Schema, EveryKeyIsDocumentedAndItsDefaultIsValid) {
  for (const KeySpec& key : recipe_schema()) {
    EXPECT_FALSE(key.doc.empty()) << key.name;
    EXPECT_FALSE(key.section.empty()) << key.name;
    EXPECT_NO_THROW(default_of(key)) << key.name;
    EXPECT_EQ(key.type == ValueType::kChoice, !key.choices.empty()) << key.name;
  }
}

TEST(Schema, NamesAndAliasesNeverClash) {
  std::set<std::string> seen;
  for (const KeySpec& key : recipe_schema()) {
    EXPECT_TRUE(seen.insert(key.name).second) << key.name;
    for (const std::string& alias : key.aliases) EXPECT_TRUE(seen.insert(alias).second) << alias;
  }
}

// The part of JSON Schema that recipe_json_schema() uses. Returns the path of what doesn't fit, or
// "".
std::string schema_mismatch(const Json& schema, const Json& value, const std::string& path);

std::string object_mismatch(const Json& schema, const Json& value, const std::string& path) {
  for (const Json& name : schema.value("required", Json::array())) {
    if (!value.contains(name.get<std::string>()))
      return path + "/" + name.get<std::string>() + " is missing";
  }
  for (const auto& [name, item] : value.items()) {
    const std::string below = std::string(path).append("/").append(name);
    const Json rest = schema.value("additionalProperties", Json(true));
    if (schema.contains("properties") && schema["properties"].contains(name)) {
      if (auto m = schema_mismatch(schema["properties"][name], item, below); !m.empty()) return m;
    } else if (rest == false) {
      return below + " is unknown";
    } else if (rest.is_object()) {
      if (auto m = schema_mismatch(rest, item, below); !m.empty()) return m;
    }
  }
  return "";
}

bool has_type(const std::string& type, const Json& value) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") return value.is_number_integer();
  return value.is_number();
}

std::string schema_mismatch(const Json& schema, const Json& value, const std::string& path) {
  if (schema.contains("anyOf")) {
    const bool any =
        std::any_of(schema["anyOf"].begin(), schema["anyOf"].end(),
                    [&](const Json& s) { return schema_mismatch(s, value, path).empty(); });
    return any ? "" : path + " fits none";
  }
  if (schema.contains("type") && !has_type(schema["type"], value))
    return path + " is no " + schema["type"].get<std::string>();
  if (schema.contains("enum") &&
      std::find(schema["enum"].begin(), schema["enum"].end(), value) == schema["enum"].end()) {
    return path + " is no choice";
  }
  if (value.is_number()) {
    const double number = value;
    if (number < schema.value("minimum", number) || number > schema.value("maximum", number))
      return path + " is out of range";
    if (schema.contains("exclusiveMinimum") && number <= schema["exclusiveMinimum"])
      return path + " is out of range";
    if (schema.contains("exclusiveMaximum") && number >= schema["exclusiveMaximum"])
      return path + " is out of range";
  }
  if (value.is_array() && schema.contains("items")) {
    if (value.size() < schema.value("minItems", size_t{0})) return path + " is empty";
    for (const Json& item : value) {
      if (auto m = schema_mismatch(schema["items"], item, path + "/-"); !m.empty()) return m;
    }
  }
  return value.is_object() ? object_mismatch(schema, value, path) : "";
}

// YAML as an editor's schema checker sees it: plain scalars typed by their look.
Json as_json(const core::YamlNode& node) {
  using Kind = core::YamlNode::Kind;
  Json value;
  if (node.kind == Kind::kSequence) {
    value = Json::array();
    for (const auto& item : node.items) value.push_back(as_json(item));
  } else if (node.kind == Kind::kMap) {
    value = Json::object();
    for (const auto& entry : node.entries) value[entry.key] = as_json(entry.value);
  } else if (node.kind == Kind::kScalar) {
    const Json parsed = node.quoted ? Json() : Json::parse(node.scalar, nullptr, false);
    value = parsed.is_number() || parsed.is_boolean() ? parsed : Json(node.scalar);
  }
  return value;
}

std::string schema_says(const std::string& yaml) {
  std::vector<core::YamlProblem> problems;
  return schema_mismatch(recipe_json_schema(), as_json(core::parse_yaml(yaml, problems)), "");
}

TEST(JsonSchema, AcceptsAWholeRecipe) { EXPECT_EQ(schema_says(kWholeRecipe), ""); }

TEST(JsonSchema, AcceptsEveryCommittedRecipe) {
  const auto recipes = committed_recipes(kSource);
  for (const std::filesystem::path& path : recipes)
    EXPECT_EQ(schema_says(test::slurp(path)), "") << path;
  EXPECT_GT(recipes.size(), 0u);
}

TEST(JsonSchema, RejectsTyposTypesAndRanges) {
  EXPECT_EQ(schema_says(kWholeRecipe + "lerning_rate: 1\n"), "/lerning_rate is unknown");
  EXPECT_EQ(schema_says(kWholeRecipe + "weight_decay: none\n"), "/weight_decay is no number");
  EXPECT_EQ(schema_says(kWholeRecipe + "adam_beta1: 1\n"), "/adam_beta1 is out of range");
  EXPECT_EQ(schema_says(kWholeRecipe + "on_bad_row: ignore\n"), "/on_bad_row is no choice");
  EXPECT_EQ(schema_says("recipe: sft\n"), "/model_name_or_path is missing");
  EXPECT_EQ(schema_says(
                "recipe: sft\nmodel_name_or_path: m\noutput_dir: o\ndatasets: [{format: text}]\n"),
            "/datasets/-/path is missing");
}

TEST(JsonSchema, CarriesDefaultsAndDescriptions) {
  const Json schema = recipe_json_schema();
  EXPECT_EQ(schema["properties"]["adam_beta2"]["default"], 0.999);
  EXPECT_EQ(schema["properties"]["adapter"]["properties"]["target_modules"]["default"],
            "all-linear");
  EXPECT_FALSE(schema["properties"]["seed"]["description"].get<std::string>().empty());
}

}  // namespace
}  // namespace hone::recipes
