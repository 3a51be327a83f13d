#include <cstdio>

#include "core/text.h"
#include "recipes/pipeline_plan.h"
#include "recipes/recipe.h"
#include "recipes/schema.h"
#include "recipes/verbs.h"

namespace hone::recipes {
namespace {

std::string method_text(const Recipe& recipe) {
  if (!recipe.adapter_path.empty()) return "LoRA, continued from " + recipe.adapter_path;
  if (recipe.adapter.enabled()) return "LoRA, r " + std::to_string(recipe.adapter.r);
  return "full fine-tuning";
}

std::string length_text(const Recipe& recipe) {
  if (recipe.train.max_steps > 0)
    return core::format_count(static_cast<uint64_t>(recipe.train.max_steps)) + " steps";
  char text[64];
  std::snprintf(text, sizeof text, "%g epochs", recipe.num_train_epochs);
  return text;
}

std::string sharded_text(const Recipe& recipe) {
  if (recipe.layout.dp_shard == 1) return "";
  const int64_t level = recipe.parallel.shard_level;
  return std::string(", dp_shard_level ") + std::to_string(level) + ": optimizer states" +
         (level == 2 ? " and gradients" : "") + (level == 3 ? ", gradients and parameters" : "") +
         " sharded";
}

// Of a model that is a folder.
std::optional<models::ModelSpec> local_spec(const Recipe& recipe) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(recipe.model_name_or_path, ignored)) return std::nullopt;
  return models::read_model_spec(recipe.model_name_or_path);
}

// "4 ranks: dp_replicate 2 x dp_shard 2, ...; a step is 16 rows = ...".
std::string ranks_text(const Recipe& recipe) {
  const int64_t num_ranks = recipe.layout.num_ranks(),
                data_ranks = recipe.layout.data_parallel_size();
  std::string text = layout_text(recipe, local_spec(recipe));
  if (num_ranks > 1) text = std::to_string(num_ranks) + " ranks: " + text + sharded_text(recipe);
  text += "; a step is " + std::to_string(recipe.global_batch_size) + " rows = micro_batch_size " +
          std::to_string(recipe.loader.micro_batch_size) + " x gradient_accumulation_steps " +
          std::to_string(recipe.accumulation);
  if (data_ranks > 1) text += " x " + std::to_string(data_ranks) + " data-parallel ranks";
  if (recipe.parallel.strict) text += "; strict";
  return text;
}

int validate(const std::string& path, const RecipeOptions& options) {
  const Recipe recipe = load_recipe(path, options);
  for (const std::string& note : recipe.notes) std::printf("note: %s\n", note.c_str());
  std::printf("%s is a sound recipe: %s of %s, %s of %s rows, into %s\n%s\n", path.c_str(),
              method_text(recipe).c_str(), recipe.model_name_or_path.c_str(),
              length_text(recipe).c_str(),
              core::format_count(static_cast<uint64_t>(recipe.global_batch_size)).c_str(),
              recipe.train.output_dir.c_str(), ranks_text(recipe).c_str());
  return 0;
}

}  // namespace

void add_validate(CLI::App& app, Action& chosen) {
  struct Arguments {
    std::string recipe;
    RecipeOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb =
      app.add_subcommand("validate", "Check a recipe: every error at once, with its line");
  verb->add_option("recipe", arguments->recipe, "Recipe file")->required();
  verb->add_option("--set", arguments->options.overrides, "Override a key: key=value")->take_all();
  verb->add_option("--ranks", arguments->options.num_ranks, "Ranks of the run (mpirun -np N)")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  verb->callback([&chosen, arguments] {
    chosen = [arguments] { return validate(arguments->recipe, arguments->options); };
  });
}

void add_recipe(CLI::App& app, Action& chosen) {
  CLI::App* verb = app.add_subcommand("recipe", "What a recipe may hold");
  verb->require_subcommand(1);
  verb->add_subcommand("schema", "Print a JSON Schema of recipes")->callback([&chosen] {
    chosen = [] { return std::fputs(core::dump_json(recipe_json_schema()).c_str(), stdout) < 0; };
  });
  verb->add_subcommand("docs", "Print the recipe reference (docs/recipe_reference.md)")
      ->callback([&chosen] {
        chosen = [] { return std::fputs(recipe_reference().c_str(), stdout) < 0; };
      });
}

}  // namespace hone::recipes
