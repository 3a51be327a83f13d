// The whole job on one screen: recipe -> folders -> tokens -> model -> training -> card -> hub.
#include "trainer/train.h"

#include <spdlog/spdlog.h>

#include "core/error.h"
#include "parallel/comm/checked.h"
#include "recipes/pipeline_plan.h"
#include "recipes/publish.h"
#include "recipes/run_card.h"
#include "recipes/run_reports.h"
#include "recipes/train/planned_run.h"
#include "recipes/train/preflight.h"
#include "recipes/train/prepared.h"
#include "recipes/train/proving.h"
#include "recipes/train/rank_watch.h"
#include "recipes/train/ranks.h"
#include "recipes/train/run_info.h"
#include "recipes/train/training_model.h"
#include "recipes/train/verbs.h"
#include "recipes/train/watch.h"
#include "trainer/gather.h"
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
  bool ledger = false;
  bool check_collectives = false;
  bool ignore_plan = false;
  bool profile = false;
  std::string profile_path;  // "": trace.json in the output folder
  int64_t profile_steps = 5;
};

// hub_strategy: every_save.
trainer::Publish publish_checkpoints(const Recipe& recipe, const ResolvedInputs& inputs) {
  if (!recipe.hub.push || !recipe.hub.every_save) return {};
  return [&recipe, &inputs](const fs::path& checkpoint) {
    publish_run(recipe, checkpoint,
                run_message(recipe, inputs.model) + ", " + checkpoint.filename().string());
  };
}

// On rank 0: what is read back, written, told and pushed once the model is there.
void conclude(Recipe& recipe, Profile& profile, Prepared& p, const TrainedLogits& trained,
              const trainer::TrainResult& result, const RunReports& reports) {
  const trainer::Proof proof = prove_run(trained, recipe, p.inputs, p.dtype, p.device);
  spdlog::info("read back: {}", trainer::proof_text(proof));
  write_run_card(recipe, p.inputs, p.data,
                 {.step = result.model_step,
                  .last_loss = result.last_loss,
                  .first_eval_loss = result.first_eval_loss,
                  .last_eval_loss = result.model_eval_loss,
                  .dtype = p.dtype.name,
                  .proofs = {card_proof("the final model", proof)}});
  trainer::require_proof(proof, recipe.train.output_dir);
  spdlog::info("the model and its card are in {}", recipe.train.output_dir.string());
  reports.write_html();
  if (recipe.hub.push) {
    profile.timed("push", [&] {
      publish_run(recipe, recipe.train.output_dir, run_message(recipe, p.inputs.model));
    });
  }
}

int train(const TrainArguments& arguments, Recipe& recipe, Profile& profile, WatchedRanks& ranks) {
  parallel::Communicator& world = ranks.world;
  const bool is_first = world.rank() == 0;
  for (const std::string& note : recipe.notes) {
    if (is_first) spdlog::warn("{}", note);
  }
  Prepared p = prepare({.output_dir = recipe.train.output_dir,
                        .resume = arguments.resume,
                        .resume_path = arguments.resume_path,
                        .overwrite = arguments.overwrite},
                       recipe, profile, world);
  recipe.train.gemm_rate = trainer::measure_gemm_rate(p.dtype.type, p.device);
  const PlannedRun planned =
      plan_run(recipe, p, recipe.train.gemm_rate, arguments.ignore_plan, world);
  parallel::Mesh mesh = make_training_mesh(world, recipe, p.device, ranks.record);
  std::optional<models::Model> model;
  std::vector<trainer::SamplePrompt> prompts;
  std::vector<int64_t> eos_token_ids;
  parallel::together(world, [&] {
    model = profile.timed(
        "load model", [&] { return load_to_train(recipe, p.inputs, p.dtype, p.device, &mesh); });
    recipe.train.run_info = info_of_run(recipe, p);
    prompts = sample_prompts(recipe, p.data, *p.tokenizer);
    eos_token_ids = trainer::end_token_ids(*model, p.inputs.model.folder, *p.tokenizer);
    if (arguments.overwrite && is_first) remove_old_run(recipe.train.output_dir);
  });
  recipe.train.strict = recipe.parallel.strict;
  recipe.train.ledger = arguments.ledger;
  // A GPU's copy engines are idle meanwhile; without a spare core waiting at the end is faster.
  recipe.train.overlap_reduce = mesh.replicate.backend_name() == "nccl";
  if (is_first && world.size() > 1) spdlog::info("layout: {}", layout_text(recipe, model->spec));
  inspect_ranks(ranks, mesh, recipe, *model, p.device);
  profile.begin_run();
  RunReports reports(recipe);
  const auto tell = [&](trainer::RunMoment moment) { reports.update(moment); };
  const trainer::TrainResult result = trainer::train(
      {.model = *model,
       .mesh = &mesh,
       .train_data = *p.train_loader,
       .eval_data = p.eval_loader ? &*p.eval_loader : nullptr,
       .train_names = p.data.train_names,
       .eval_names = p.data.eval_names,
       .model_folder = p.inputs.model.folder,
       .resume_from = p.checkpoint,
       .verify_seconds = p.verify_seconds,
       .tokenizer = &*p.tokenizer,
       .sample_prompts = std::move(prompts),
       .eos_token_ids = std::move(eos_token_ids),
       .publish = is_first ? publish_checkpoints(recipe, p.inputs) : trainer::Publish(),
       .trace = profile.trace(),
       .on_first_step =
           [&](double seconds) { compare_with_plan(planned, p.device, seconds, world); },
       .on_moment = is_first ? tell : std::function<void(trainer::RunMoment)>()},
      recipe.train);
  if (result.stopped_by_signal) return static_cast<int>(ErrorKind::kStoppedEarly);
  TrainedLogits trained;
  {
    const trainer::WholeModel whole(*model, mesh);
    parallel::together(world, [&] {
      if (mesh.is_in_first_model()) trained = trained_logits(*model, p.data);
    });
  }
  model.reset();
  parallel::on_first(world, [&] { conclude(recipe, profile, p, trained, result, reports); });
  return 0;
}

// A run that fails is one to look at too.
int train_profiled(const TrainArguments& arguments, parallel::Communicator& world) {
  Recipe recipe;
  parallel::together(world, [&] {
    recipe = load_recipe(arguments.recipe,
                         {.overrides = arguments.overrides, .num_ranks = world.size()});
  });
  recipe.train.profile.num_steps = arguments.profile_steps;
  const fs::path path = arguments.profile_path.empty() ? recipe.train.output_dir / "trace.json"
                                                       : fs::path(arguments.profile_path);
  Profile profile(arguments.profile && world.rank() == 0);
  try {
    compare_programs(world, recipe);
    const int code = watch_ranks(world, recipe, [&](WatchedRanks& ranks) {
      return train(arguments, recipe, profile, ranks);
    });
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
  verb->add_flag("--ledger", a->ledger,
                 "Write ledger.jsonl: the rows of the data in every micro-batch of every step");
  verb->add_flag("--check-collectives", a->check_collectives,
                 "Ranks tell each other what they call before they call it: a difference is named, "
                 "not waited for");
  verb->add_flag("--ignore-plan", a->ignore_plan,
                 "Try a run that does not fit the memory by its plan (hone plan)");
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
    chosen = [a] {
      return on_ranks([a](parallel::Communicator& world) {
        if (!a->check_collectives) return train_profiled(*a, world);
        parallel::Communicator checked = parallel::checked(world);
        return train_profiled(*a, checked);
      });
    };
  });
}

}  // namespace hone::recipes
