#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "data/show.h"
#include "recipes/contamination_check.h"
#include "recipes/inputs.h"
#include "recipes/recipe.h"
#include "recipes/verbs.h"

namespace hone::recipes {
namespace {

struct ShowArguments {
  std::string recipe;
  std::vector<std::string> overrides;
  int64_t rows = 3, first = 0;
  std::string color = "auto";
};

bool wants_color(const std::string& choice) {
  if (choice != "auto") return choice == "always";
  return ::isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr;
}

void show_part(const std::string& name, const data::TokenCache& cache,
               const data::Tokenizer& tokenizer, const ShowArguments& arguments,
               const data::LoaderOptions& loader, const std::vector<std::string>& names) {
  const data::ShowOptions options{.first_row = arguments.first,
                                  .num_rows = arguments.rows,
                                  .color = wants_color(arguments.color)};
  std::printf("== %s\n%s%s", name.c_str(), data::render_rows(cache, tokenizer, options).c_str(),
              data::render_totals(cache, loader, names).c_str());
}

int show(const ShowArguments& arguments) {
  const Recipe recipe =
      load_recipe(arguments.recipe, {.overrides = arguments.overrides, .num_ranks = kAnyRanks});
  const ResolvedInputs inputs = resolve_inputs(recipe);
  const data::Tokenizer tokenizer = data::Tokenizer::load(inputs.tokenizer_folder);
  const PreparedData data = prepare_data(recipe, tokenizer);
  show_part("training data", data.train, tokenizer, arguments, recipe.loader, data.train_names);
  if (data.eval)
    show_part("evaluation data", *data.eval, tokenizer, arguments, eval_loader_options(recipe),
              data.eval_names);
  if (data.contamination) {
    std::printf("== contamination\n%s\n", contamination_text(*data.contamination).c_str());
  }
  return 0;
}

}  // namespace

void add_data(CLI::App& app, Action& chosen) {
  CLI::App* data = app.add_subcommand("data", "Look at the data of a recipe");
  data->require_subcommand(1);
  auto arguments = std::make_shared<ShowArguments>();
  CLI::App* verb = data->add_subcommand(
      "show", "Print rows as the model sees them, trained tokens marked, and totals");
  verb->add_option("recipe", arguments->recipe, "Recipe file")->required();
  verb->add_option("--rows", arguments->rows, "How many rows")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--first", arguments->first, "First row, 0-based")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--color", arguments->color, "auto, always or never")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "always", "never"}));
  verb->add_option("--set", arguments->overrides, "Override a key: key=value")->take_all();
  verb->callback([&chosen, arguments] { chosen = [arguments] { return show(*arguments); }; });
}

}  // namespace hone::recipes
