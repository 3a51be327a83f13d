// A recipe: the strict YAML reader, the schema and the cross checks. A recipe that is accepted, its
// resolved form written as JSON (which is YAML), resolves to itself.
#include "core/yaml.h"

#include "core/json.h"
#include "recipes/recipe.h"
#include "tests/fuzz/target.h"

namespace hone::fuzz {
namespace {

using core::ErrorKind;

size_t count_lines(std::string_view text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
}

void check_lines(const core::YamlNode& node, int num_lines) {
  require(node.line >= 0 && node.line <= num_lines,
          "a node is on line " + std::to_string(node.line));
  for (const core::YamlNode& item : node.items) check_lines(item, num_lines);
  for (const core::YamlNode::Entry& entry : node.entries) {
    require(entry.line >= 1 && entry.line <= num_lines, "a key is on no line");
    check_lines(entry.value, num_lines);
  }
}

}  // namespace

void fuzz_yaml(std::string_view input) {
  std::vector<core::YamlProblem> problems;
  // yaml-cpp counts a lone carriage return as a line break too.
  std::string text(input);
  const auto lines =
      count_lines(text) + static_cast<size_t>(std::count(text.begin(), text.end(), '\r'));
  check_lines(core::parse_yaml(text, problems), static_cast<int>(lines));
  std::string resolved;
  const auto read = [&] {
    resolved = core::dump_json(
        recipes::parse_recipe(text, "recipe.yaml", {.num_ranks = recipes::kAnyRanks}).resolved);
  };
  if (!accepts(read, {ErrorKind::kBadRecipe, ErrorKind::kBadInput})) return;
  const recipes::Recipe again =
      recipes::parse_recipe(resolved, "resolved.json", {.num_ranks = recipes::kAnyRanks});
  require(core::dump_json(again.resolved) == resolved, "a resolved recipe resolves to other");
}

}  // namespace hone::fuzz
