#include "recipes/recipe.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "core/yaml.h"
#include "data/row_format.h"
#include "recipes/cross_checks.h"
#include "recipes/model_checks.h"
#include "recipes/rank_checks.h"

namespace hone::recipes {
namespace {

using core::Json;

std::string text_or_empty(const Json& value) {
  return value.is_null() ? "" : value.get<std::string>();
}
int64_t integer_or_zero(const Json& value) { return value.is_null() ? 0 : value.get<int64_t>(); }

data::SampleBy sample_by(const std::string& name) {
  if (name == "paragraph") return data::SampleBy::kParagraph;
  return name == "document" ? data::SampleBy::kDocument : data::SampleBy::kLine;
}

trainer::ScheduleType schedule_type(const std::string& name) {
  if (name == "cosine") return trainer::ScheduleType::kCosine;
  if (name == "constant") return trainer::ScheduleType::kConstant;
  if (name == "wsd") return trainer::ScheduleType::kWsd;
  return trainer::ScheduleType::kLinear;
}

std::vector<data::DatasetSource> sources_of(const CheckedRecipe& checked, const std::string& list,
                                            const std::string& path) {
  std::vector<data::DatasetSource> sources;
  const Json& items = checked.values.at(list);
  for (size_t i = 0; items.is_array() && i < items.size(); ++i) {
    const Json& item = items[i];
    data::DatasetSource source{.path = text_or_empty(item.at("path")),
                               .format = data::row_formats().at(item.at("format")),
                               .split = text_or_empty(item.at("split")),
                               .config_name = text_or_empty(item.at("name")),
                               .revision = text_or_empty(item.at("revision")),
                               .max_rows = integer_or_zero(item.at("max_rows")),
                               .sample_by = sample_by(item.at("sample_by"))};
    if (item.at("columns").is_object()) {
      for (const auto& [ours, theirs] : item.at("columns").items())
        source.columns.emplace_back(ours, theirs);
    }
    const auto place = checked.places.find(list + "[" + std::to_string(i) + "]");
    if (place != checked.places.end()) {
      source.where = place->second.where.empty() ? path + ":" + std::to_string(place->second.line)
                                                 : place->second.where;
    }
    sources.push_back(std::move(source));
  }
  return sources;
}

void read_adapter(const Json& adapter, Recipe& recipe) {
  if (!adapter.is_object()) return;
  recipe.adapter_path = text_or_empty(adapter.at("path"));
  if (!recipe.adapter_path.empty()) return;
  recipe.adapter.r = adapter.at("r");
  recipe.adapter.lora_alpha = adapter.at("lora_alpha");
  recipe.adapter.lora_dropout = adapter.at("lora_dropout");
  recipe.adapter.use_rslora = adapter.at("use_rslora");
  recipe.adapter.modules_to_save = adapter.at("modules_to_save").get<std::vector<std::string>>();
  const Json& targets = adapter.at("target_modules");
  if (targets.is_array()) {
    recipe.adapter.target_modules = targets.get<std::vector<std::string>>();
  } else {
    const std::string text = targets == "all" ? "all-linear" : targets.get<std::string>();
    recipe.adapter.target_modules = {text};
    // As PEFT: one string is a regular expression over whole module paths.
    recipe.adapter.target_modules_is_regex = text != "all-linear";
  }
}

trainer::TrainOptions train_options(const Json& v) {
  trainer::TrainOptions train;
  train.max_steps = integer_or_zero(v.at("max_steps"));
  train.seed = v.at("seed");
  train.gradient_checkpointing = v.at("gradient_checkpointing");
  train.save_dtype = text_or_empty(v.at("save_dtype"));
  train.logging_steps = v.at("logging_steps");
  train.eval_steps = v.at("eval_steps");
  train.save_steps = v.at("save_steps");
  train.save_total_limit = integer_or_zero(v.at("save_total_limit"));
  train.output_dir = text_or_empty(v.at("output_dir"));
  train.samples = {.steps = v.at("sample_steps").is_null() ? train.eval_steps
                                                           : v.at("sample_steps").get<int64_t>(),
                   .max_new_tokens = v.at("sample_max_new_tokens")};
  train.schedule = {.type = schedule_type(v.at("lr_scheduler_type")),
                    .learning_rate = v.at("learning_rate"),
                    .warmup_steps = v.at("warmup_steps"),
                    .warmup_ratio = v.at("warmup_ratio"),
                    .scheduler_steps = integer_or_zero(v.at("scheduler_steps"))};
  train.optimizer = {.adam_beta1 = v.at("adam_beta1"),
                     .adam_beta2 = v.at("adam_beta2"),
                     .adam_epsilon = v.at("adam_epsilon"),
                     .weight_decay = v.at("weight_decay"),
                     .max_grad_norm = v.at("max_grad_norm")};
  return train;
}

ReportTargets report_targets(const Json& v, const std::filesystem::path& output_dir) {
  const Json& wanted = v.at("report_to");
  const auto has = [&](const char* name) {
    if (!wanted.is_array()) return wanted == name || wanted == "all";
    return std::find(wanted.begin(), wanted.end(), Json(name)) != wanted.end();
  };
  const std::string logging_dir = text_or_empty(v.at("logging_dir"));
  return {.tensorboard = has("tensorboard"),
          .html = has("html"),
          .logging_dir = logging_dir.empty() ? output_dir / "tensorboard"
                                             : std::filesystem::path(logging_dir)};
}

ContaminationPolicy contamination_policy(const std::string& name) {
  if (name == "error") return ContaminationPolicy::kError;
  if (name == "drop") return ContaminationPolicy::kDrop;
  if (name == "off") return ContaminationPolicy::kOff;
  return ContaminationPolicy::kWarn;
}

// One a dataset, or none: cross_checks.cpp has seen to it that all have one or none has.
std::vector<double> weights_of(const Json& datasets) {
  std::vector<double> weights;
  for (const Json& dataset : datasets) {
    if (dataset.at("weight").is_number()) weights.push_back(dataset.at("weight"));
  }
  return weights;
}

trainer::SelectionOptions selection_options(const CheckedRecipe& checked) {
  const Json& v = checked.values;
  const bool stops_early = !v.at("early_stopping_patience").is_null();
  const bool loads_best = v.at("load_best_model_at_end");
  return {
      .metric = "eval_loss",  // "loss" is the Hugging Face Trainer's other name for it
      .greater_is_better = v.at("greater_is_better"),
      .keep_best = loads_best || stops_early || checked.places.contains("metric_for_best_model"),
      .load_best_model_at_end = loads_best,
      .early_stopping_patience = integer_or_zero(v.at("early_stopping_patience")),
      .early_stopping_threshold = v.at("early_stopping_threshold")};
}

void read_data_options(const Json& v, Recipe& recipe) {
  recipe.dataset_options = {.max_length = v.at("max_length"),
                            .assistant_only_loss = v.at("assistant_only_loss"),
                            .completion_only_loss = v.at("completion_only_loss"),
                            .system_prompt = text_or_empty(v.at("system_prompt")),
                            .on_bad_row = v.at("on_bad_row") == "skip" ? data::BadRowPolicy::kSkip
                                                                       : data::BadRowPolicy::kError,
                            .max_bad_rows = v.at("max_bad_rows"),
                            .deduplicate = v.at("deduplicate")};
  recipe.loader.packing = v.at("packing");
  recipe.loader.max_length = v.at("max_length");
  recipe.loader.seed = v.at("seed");
  recipe.loader.weights = weights_of(v.at("datasets"));
  recipe.eval_contamination = contamination_policy(v.at("eval_contamination"));
  recipe.eval_split = v.at("eval_split").is_null() ? 0 : v.at("eval_split").get<double>();
}

// The values as a recipe that reads back: a continued adapter's shape is its folder's.
Json resolved_values(const Json& values) {
  Json resolved = values;
  Json& adapter = resolved["adapter"];
  if (!adapter.is_object() || adapter.at("path").is_null()) return resolved;
  for (auto& [key, value] : adapter.items()) {
    if (key != "type" && key != "path") value = nullptr;
  }
  return resolved;
}

Recipe typed_recipe(const CheckedRecipe& checked, const std::string& path) {
  const Json& v = checked.values;
  Recipe recipe;
  recipe.path = path;
  recipe.resolved = resolved_values(v);
  recipe.places = checked.places;
  recipe.model_name_or_path = text_or_empty(v.at("model_name_or_path"));
  recipe.model_revision = v.at("model_revision");
  recipe.tokenizer = text_or_empty(v.at("tokenizer"));
  recipe.dtype = v.at("dtype");
  recipe.device = v.at("device");
  read_adapter(v.at("adapter"), recipe);
  recipe.datasets = sources_of(checked, "datasets", path);
  recipe.eval_datasets = sources_of(checked, "eval_datasets", path);
  read_data_options(v, recipe);
  if (!v.at("max_kl").is_null()) recipe.max_kl = v.at("max_kl");
  recipe.num_train_epochs = v.at("num_train_epochs");
  recipe.train = train_options(v);
  recipe.train.selection = selection_options(checked);
  recipe.reports = report_targets(v, recipe.train.output_dir);
  if (v.at("sample_prompts").is_array())
    recipe.sample_prompts = v.at("sample_prompts").get<std::vector<std::string>>();
  recipe.sample_eval_rows = v.at("sample_eval_rows");
  recipe.hub = {.push = v.at("push_to_hub"),
                .every_save = v.at("hub_strategy") == "every_save",
                .model_id = text_or_empty(v.at("hub_model_id")),
                .branch = v.at("hub_revision"),
                .endpoint = text_or_empty(v.at("hub_endpoint")),
                .is_private = v.at("hub_private_repo"),
                .create_pr = v.at("hub_create_pr")};
  return recipe;
}

void take_plan(const RankPlan& plan, Recipe& recipe) {
  recipe.layout = plan.layout;
  recipe.parallel = plan.options;
  recipe.loader.micro_batch_size = plan.batch.micro;
  recipe.train.micro_batch_tokens = plan.batch.micro * recipe.loader.max_length;
  recipe.loader.gradient_accumulation_steps =
      plan.batch.accumulation * plan.layout.data_parallel_size();
  recipe.accumulation = plan.batch.accumulation;
  recipe.global_batch_size = plan.batch.global;
  recipe.resolved["dp_replicate_size"] = plan.layout.dp_replicate;
  recipe.resolved["micro_batch_size"] = plan.batch.micro;
  recipe.resolved["gradient_accumulation_steps"] = plan.batch.accumulation;
  recipe.resolved["global_batch_size"] = plan.batch.global;
  if (plan.options.chunks_per_rank > 1)
    recipe.resolved["virtual_pipeline_size"] = plan.options.chunks_per_rank;
}

}  // namespace

Recipe parse_recipe(const std::string& text, const std::string& path,
                    const RecipeOptions& options) {
  std::vector<core::YamlProblem> yaml_problems;
  core::YamlNode root = core::parse_yaml(text, yaml_problems);
  std::vector<Problem> problems;
  problems.reserve(yaml_problems.size());
  for (const auto& p : yaml_problems) problems.push_back({p.line, "", p.message});
  // What could be read of a file with duplicate keys is worth checking; of one that can't be
  // parsed, it is not.
  const bool whole = std::all_of(yaml_problems.begin(), yaml_problems.end(), [](const auto& p) {
    return p.message.starts_with("duplicate key");
  });
  if (!whole) throw_problems(problems, path);

  const CheckedRecipe checked = check_recipe(std::move(root), options.overrides, path, problems);
  std::vector<std::string> notes = checked.notes;
  if (checked.values.empty()) throw_problems(problems, path);
  const CheckContext context{checked, problems, notes};
  check_combinations(context);
  if (options.checks_files) check_files(context);
  const auto plan = plan_ranks(context, options.num_ranks);
  const LocalModel model = read_local_model(context);
  if (model.spec) report_misfits(context, *model.spec, plan);
  if (model.error && !problems.empty()) context.report("model_name_or_path", model.error->what());
  throw_problems(problems, path);
  if (model.error) throw *model.error;

  Recipe recipe = typed_recipe(checked, path);
  take_plan(plan.value(), recipe);
  recipe.notes = std::move(notes);
  return recipe;
}

Recipe load_recipe(const std::string& path, const RecipeOptions& options) {
  constexpr uint64_t kMaxBytes =
      uint64_t{64} << 20;  // the YAML reader says it better for what is over its own limit
  return parse_recipe(core::read_file(path, kMaxBytes), path, options);
}

}  // namespace hone::recipes
