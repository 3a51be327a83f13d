#include "recipes/recipe_plan.h"

#include "core/error.h"
#include "hub/resolve.h"
#include "recipes/plan/plan.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;

hub::ResolveOptions config_only() {
  hub::ResolveOptions options;
  options.select = [](const std::vector<std::string>&, const hub::ReadFile&) {
    return std::vector<std::string>{"config.json"};
  };
  return options;
}

}  // namespace

PlanInput plan_input(const Recipe& recipe, const models::ModelSpec& spec, const Hardware& hardware,
                     const std::string& adapter_folder) {
  PlanInput input{
      .spec = spec,
      .adapter = recipe.adapter_path.empty() ? recipe.adapter
                                             : models::read_adapter_config(adapter_folder),
      .layout = recipe.layout,
      .shard_level = recipe.parallel.shard_level,
      .chunks_per_rank = recipe.parallel.chunks_per_rank,
      .strict = recipe.parallel.strict,
      .recompute = recipe.train.gradient_checkpointing,
      .is_bfloat16 = recipe.dtype == "bfloat16" || (recipe.dtype == "auto" && hardware.is_gpu),
      .micro_batch_size = recipe.loader.micro_batch_size,
      .row_tokens = recipe.loader.max_length,
      .accumulation = recipe.accumulation,
      .hardware = hardware};
  input.pipeline = plan_pipeline(input);
  return input;
}

models::ModelSpec spec_to_plan(const Recipe& recipe, const std::string& config) {
  std::error_code ignored;
  if (!config.empty() && !fs::is_directory(config, ignored))
    return models::parse_model_spec(core::read_json_file(config), config);
  if (!config.empty()) return models::read_model_spec(config);
  try {
    return models::read_model_spec(
        hub::resolve_model(recipe.model_name_or_path, recipe.model_revision, config_only()).folder);
  } catch (const core::Error& error) {
    if (error.kind() != core::ErrorKind::kMissingInput) throw;
    core::ErrorDetail detail = error.detail();
    detail.hint = "a config.json is enough to plan: --config FILE";
    core::fail(core::ErrorKind::kMissingInput, std::move(detail));
  }
}

}  // namespace hone::recipes
