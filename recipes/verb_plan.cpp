// hone plan: what a recipe will need and take, before it runs.
#include <cstdio>
#include <optional>

#include "recipes/cluster_plan.h"
#include "recipes/model_checks.h"
#include "recipes/plan/plan_text.h"
#include "recipes/recipe_plan.h"
#include "recipes/verbs.h"

namespace hone::recipes {
namespace {

constexpr size_t kNumChanges = 3, kNumLayouts = 10;

struct PlanArguments {
  std::string recipe, config, cluster, hardware;
  RecipeOptions options{.num_ranks = kAnyRanks, .checks_files = false};
  bool search = false, as_json = false;
};

constexpr const char* kAssumed = "h100";

int plan(PlanArguments arguments) {
  std::optional<launch::Cluster> cluster;
  if (!arguments.cluster.empty()) {
    cluster = launch::load_cluster(arguments.cluster);
    if (arguments.options.num_ranks == kAnyRanks)
      arguments.options.num_ranks = cluster->num_ranks();
    if (!arguments.hardware.empty()) cluster->hardware = arguments.hardware;
  }
  const Hardware hardware =
      cluster ? hardware_of(*cluster)
              : find_hardware(arguments.hardware.empty() ? kAssumed : arguments.hardware);
  const Recipe recipe = load_recipe(arguments.recipe, arguments.options);
  const models::ModelSpec spec = spec_to_plan(recipe, arguments.config);
  require_fit(recipe, spec);
  const PlanInput input = plan_input(recipe, spec, hardware, recipe.adapter_path);
  const Plan plan = make_plan(input);
  const std::vector<Change> changes = best_changes(input, plan, kNumChanges);
  const SearchResult search = arguments.search ? search_layouts(input) : SearchResult{};
  if (arguments.as_json) {
    core::Json json = plan_json(input, plan, changes);
    if (arguments.search) json["layouts"] = search_json(search, kNumLayouts);
    std::fputs(core::dump_json(json).c_str(), stdout);
    return 0;
  }
  for (const std::string& note : recipe.notes) std::printf("note: %s\n", note.c_str());
  std::fputs(plan_text(input, plan, changes).c_str(), stdout);
  if (arguments.search) std::fputs(search_text(search, kNumLayouts).c_str(), stdout);
  return 0;
}

}  // namespace

void add_plan(CLI::App& app, Action& chosen) {
  auto a = std::make_shared<PlanArguments>();
  CLI::App* verb = app.add_subcommand(
      "plan",
      "Memory, time and communication of a recipe, and whether it fits, without running it");
  verb->add_option("recipe", a->recipe, "Recipe file")->required();
  verb->add_option("--ranks", a->options.num_ranks,
                   "Ranks of the run; default: as many as the sizes of the recipe make")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  verb->add_option(
      "--hardware", a->hardware,
      "What a rank runs on: a name of configs/hardware, or a file like those; default: "
      "the cluster's, else h100");
  verb->add_option("--cluster", a->cluster, "Cluster file: how many ranks, on what");
  verb->add_option("--config", a->config,
                   "config.json of the model, where the model itself is not here");
  verb->add_option("--set", a->options.overrides, "Override a key: key=value")
      ->expected(1)
      ->take_all();
  verb->add_flag("--search", a->search, "Rank other layouts of as many ranks");
  verb->add_flag("--json", a->as_json, "Print JSON");
  verb->callback([&chosen, a] { chosen = [a] { return plan(*a); }; });
}

}  // namespace hone::recipes
