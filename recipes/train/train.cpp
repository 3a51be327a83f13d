// The whole job on one screen: recipe -> folders -> tokens -> model -> training -> card -> hub.
#include "trainer/train.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "core/error.h"
#include "kernels/allocator.h"
#include "models/load.h"
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
#include "recipes/train/verbs.h"
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

models::LoadOptions load_options(const Recipe& recipe, const ResolvedInputs& inputs,
                                 const DtypeChoice& dtype, at::Device device) {
  models::LoadOptions options{.compute_dtype = dtype.type,
                              .device = device,
                              .train_base = !recipe.trains_adapter(),
                              .adapter = recipe.adapter,
                              .seed = recipe.train.seed};
  options.adapter.base_model_name_or_path = recipe.model_name_or_path;
  options.adapter.base_model_revision = recipe.model_revision;
  if (inputs.adapter) options.adapter_path = inputs.adapter->folder;
  return options;
}

// Ids past the embedding would read outside it; rows without a token are harmless padding.
void check_vocabulary(const data::Tokenizer& tokenizer, const models::ModelSpec& spec,
                      const ResolvedInputs& inputs) {
  if (tokenizer.vocab_size() <= spec.vocab_size) return;
  core::fail(ErrorKind::kBadInput,
             {.what = "the tokenizer has more tokens than the model",
              .where = inputs.tokenizer_folder.string(),
              .got = std::to_string(tokenizer.vocab_size()),
              .expected = "at most vocab_size " + std::to_string(spec.vocab_size)});
}

std::vector<trainer::SamplePrompt> sample_prompts(const Recipe& recipe, const PreparedData& data,
                                                  const data::Tokenizer& tokenizer) {
  std::vector<trainer::SamplePrompt> prompts;
  for (const std::string& text : recipe.sample_prompts) {
    prompts.push_back(
        trainer::make_sample_prompt(tokenizer, text, recipe.dataset_options.system_prompt));
  }
  if (!data.eval || recipe.sample_eval_rows == 0) return prompts;
  auto of_rows = trainer::sample_prompts_of(*data.eval, recipe.sample_eval_rows, tokenizer);
  if (static_cast<int64_t>(of_rows.size()) < recipe.sample_eval_rows) {
    spdlog::warn("sample_eval_rows: only {} evaluation rows have a prompt before what is trained",
                 of_rows.size());
  }
  std::ranges::move(of_rows, std::back_inserter(prompts));
  return prompts;
}

int train(const TrainArguments& arguments) {
  Recipe recipe = load_recipe(arguments.recipe, {.overrides = arguments.overrides});
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
  const PreparedData data = prepare_data(recipe, tokenizer);
  const data::Loader train_loader(data.train, recipe.loader);
  std::optional<data::Loader> eval_loader;
  if (data.eval) eval_loader.emplace(*data.eval, eval_loader_options(recipe));
  if (recipe.train.max_steps == 0)
    recipe.train.max_steps = steps_of_epochs(train_loader, recipe.num_train_epochs);

  const at::Device device = choose_device(recipe.device);
  const DtypeChoice dtype = choose_run_dtype(recipe.dtype, device, checkpoint);
  models::Model model =
      models::load_model(inputs.model.folder, load_options(recipe, inputs, dtype, device));
  recipe.train.gemm_rate = trainer::measure_gemm_rate(dtype.type, device);
  recipe.train.identity = run_identity(recipe, inputs, data, tokenizer, dtype);
  recipe.train.run_info = run_info(recipe, inputs, data, dtype);
  add_statistics(data.train, train_loader, recipe.loader, recipe.train.run_info["data"]["train"]);
  if (eval_loader) {
    add_statistics(*data.eval, *eval_loader, eval_loader_options(recipe),
                   recipe.train.run_info["data"]["eval"]);
  }
  if (arguments.overwrite) remove_old_run(recipe.train.output_dir);
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
       .on_moment = [&](trainer::RunMoment moment) { reports.update(moment); }},
      recipe.train);
  if (result.stopped_by_signal) return static_cast<int>(ErrorKind::kStoppedEarly);

  const trainer::Proof proof = prove_run(std::move(model), recipe, inputs, data);
  spdlog::info("read back: {}", trainer::proof_text(proof));
  write_run_card(recipe, inputs, data,
                 {.step = result.step,
                  .last_loss = result.last_loss,
                  .first_eval_loss = result.first_eval_loss,
                  .last_eval_loss = result.last_eval_loss,
                  .dtype = dtype.name,
                  .proofs = {card_proof("the final model", proof)}});
  trainer::require_proof(proof, recipe.train.output_dir);
  spdlog::info("the model and its card are in {}", recipe.train.output_dir.string());
  reports.write_html();
  if (recipe.hub.push)
    publish_run(recipe, recipe.train.output_dir, "Fine-tune " + recipe.model_name_or_path);
  return 0;
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
  verb->callback([&chosen, a, resume] {
    a->resume = resume->count() > 0;
    chosen = [a] { return train(*a); };
  });
}

}  // namespace hone::recipes
