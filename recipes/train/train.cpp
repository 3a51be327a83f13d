// The whole job on one screen: recipe -> folders -> tokens -> model -> training -> card -> hub.
#include "trainer/train.h"

#include <spdlog/spdlog.h>

#include <cmath>

#include "core/error.h"
#include "kernels/allocator.h"
#include "recipes/inputs.h"
#include "recipes/publish.h"
#include "recipes/recipe.h"
#include "recipes/run_card.h"
#include "recipes/run_report.h"
#include "recipes/run_reports.h"
#include "recipes/train/dtype_choice.h"
#include "recipes/train/proving.h"
#include "recipes/train/run_info.h"
#include "recipes/train/start.h"
#include "recipes/train/training_model.h"
#include "recipes/train/verbs.h"
#include "recipes/train/watch.h"
#include "trainer/generate.h"
#include "trainer/throughput.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;

struct TrainArguments {
  std::string recipe;
  std::vector<std::string> overrides;
  bool resume = false;
  std::string resume_path;
  bool overwrite = false;
  bool profile = false;
  std::string profile_path;  // "": trace.json in the output folder
  int64_t profile_steps = 5;
};

// num_train_epochs as updates: whole epochs by their own number of steps, a fraction rounded up.
int64_t steps_of_epochs(const data::Loader& loader, double num_epochs) {
  int64_t steps = 0;
  const auto whole = static_cast<int64_t>(num_epochs);
  for (int64_t epoch = 0; epoch < whole; ++epoch) steps += loader.num_steps_per_epoch(epoch);
  const double rest = (num_epochs - static_cast<double>(whole)) *
                      static_cast<double>(loader.num_steps_per_epoch(whole));
  return std::max<int64_t>(1, steps + static_cast<int64_t>(std::ceil(rest - 1e-9)));
}

// hub_strategy: every_save.
trainer::Publish publish_checkpoints(const Recipe& recipe, const ResolvedInputs& inputs) {
  if (!recipe.hub.push || !recipe.hub.every_save) return {};
  return [&recipe, &inputs](const fs::path& checkpoint) {
    publish_run(recipe, checkpoint,
                run_message(recipe, inputs.model) + ", " + checkpoint.filename().string());
  };
}

int train(const TrainArguments& arguments, Recipe& recipe, Profile& profile) {
  for (const std::string& note : recipe.notes) spdlog::warn("{}", note);
  const ResolvedInputs inputs = resolve_inputs(recipe);
  const models::ModelSpec spec = models::read_model_spec(inputs.model.folder);
  const auto checkpoint = choose_start({.output_dir = recipe.train.output_dir,
                                        .resume = arguments.resume,
                                        .resume_path = arguments.resume_path,
                                        .overwrite = arguments.overwrite});
  if (recipe.loader.max_length > spec.max_position_embeddings) {
    spdlog::warn("max_length {} is more than the {} positions the model was made for",
                 recipe.loader.max_length, spec.max_position_embeddings);
  }
  kernels::install_caching_allocator();
  const data::Tokenizer tokenizer = data::Tokenizer::load(inputs.tokenizer_folder);
  check_vocabulary(tokenizer, spec, inputs);
  const PreparedData data =
      profile.timed("prepare data", [&] { return prepare_data(recipe, tokenizer); });
  const data::Loader train_loader(data.train, recipe.loader);
  std::optional<data::Loader> eval_loader;
  if (data.eval) eval_loader.emplace(*data.eval, eval_loader_options(recipe));
  if (recipe.train.max_steps == 0)
    recipe.train.max_steps = steps_of_epochs(train_loader, recipe.num_train_epochs);

  const at::Device device = choose_device(recipe.device);
  const DtypeChoice dtype = choose_run_dtype(recipe.dtype, device, checkpoint);
  models::Model model =
      profile.timed("load model", [&] { return load_to_train(recipe, inputs, dtype, device); });
  recipe.train.gemm_rate = trainer::measure_gemm_rate(dtype.type, device);
  recipe.train.identity = run_identity(recipe, inputs, data, tokenizer, dtype);
  recipe.train.run_info = run_info(recipe, inputs, data, dtype);
  add_statistics(data.train, train_loader, recipe.loader, recipe.train.run_info["data"]["train"]);
  if (eval_loader) {
    add_statistics(*data.eval, *eval_loader, eval_loader_options(recipe),
                   recipe.train.run_info["data"]["eval"]);
  }
  if (checkpoint) recipe.train.run_info["resumed_from"] = checkpoint->filename().string();
  if (arguments.overwrite) remove_old_run(recipe.train.output_dir);
  profile.begin_run();
  RunReports reports(recipe);
  const trainer::TrainResult result = trainer::train(
      {.model = model,
       .train_data = train_loader,
       .eval_data = eval_loader ? &*eval_loader : nullptr,
       .train_names = data.train_names,
       .eval_names = data.eval_names,
       .model_folder = inputs.model.folder,
       .resume_from = checkpoint,
       .tokenizer = &tokenizer,
       .sample_prompts = sample_prompts(recipe, data, tokenizer),
       .eos_token_ids = trainer::end_token_ids(model, inputs.model.folder, tokenizer),
       .publish = publish_checkpoints(recipe, inputs),
       .trace = profile.trace(),
       .on_moment = [&](trainer::RunMoment moment) { reports.update(moment); }},
      recipe.train);
  if (result.stopped_by_signal) return static_cast<int>(ErrorKind::kStoppedEarly);

  const trainer::Proof proof = prove_run(std::move(model), recipe, inputs, data);
  spdlog::info("read back: {}", trainer::proof_text(proof));
  write_run_card(recipe, inputs, data,
                 {.step = result.model_step,
                  .last_loss = result.last_loss,
                  .first_eval_loss = result.first_eval_loss,
                  .last_eval_loss = result.model_eval_loss,
                  .dtype = dtype.name,
                  .proofs = {card_proof("the final model", proof)}});
  trainer::require_proof(proof, recipe.train.output_dir);
  spdlog::info("the model and its card are in {}", recipe.train.output_dir.string());
  reports.write_html();
  if (recipe.hub.push) {
    profile.timed("push", [&] {
      publish_run(recipe, recipe.train.output_dir, run_message(recipe, inputs.model));
    });
  }
  return 0;
}

// A run that fails is one to look at too.
int train_profiled(const TrainArguments& arguments) {
  Recipe recipe = load_recipe(arguments.recipe, {.overrides = arguments.overrides});
  recipe.train.profile.num_steps = arguments.profile_steps;
  const fs::path path = arguments.profile_path.empty() ? recipe.train.output_dir / "trace.json"
                                                       : fs::path(arguments.profile_path);
  Profile profile(arguments.profile);
  try {
    const int code = train(arguments, recipe, profile);
    profile.write(path);
    return code;
  } catch (const std::exception&) {
    profile.write(path);
    throw;
  }
}

}  // namespace

void add_train(CLI::App& app, Action& chosen) {
  auto a = std::make_shared<TrainArguments>();
  CLI::App* verb = app.add_subcommand("train", "Fine-tune a model as a recipe says");
  verb->add_option("recipe", a->recipe, "Recipe file")->required();
  verb->add_option("--set", a->overrides, "Override a key: key=value")->expected(1)->take_all();
  CLI::Option* resume =
      verb->add_option("--resume", a->resume_path,
                       "Go on from this checkpoint, or from the newest of output_dir")
          ->expected(0, 1);
  verb->add_flag("--overwrite", a->overwrite, "Replace an earlier run in output_dir");
  CLI::Option* profile =
      verb->add_option("--profile", a->profile_path,
                       "Write a trace for Perfetto, to this file or output_dir/trace.json")
          ->expected(0, 1);
  verb->add_option("--profile-steps", a->profile_steps,
                   "With --profile: steps whose single actions are in it, after 2 to warm up")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb->callback([&chosen, a, resume, profile] {
    a->resume = resume->count() > 0;
    a->profile = profile->count() > 0;
    chosen = [a] { return train_profiled(*a); };
  });
}

}  // namespace hone::recipes
