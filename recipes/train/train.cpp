// The whole job on one screen: recipe -> folders -> tokens -> model -> training -> card -> hub.
#include "trainer/train.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <cmath>

#include "core/error.h"
#include "formats/weight_files.h"
#include "kernels/allocator.h"
#include "parallel/comm/checked.h"
#include "recipes/inputs.h"
#include "recipes/publish.h"
#include "recipes/recipe.h"
#include "recipes/run_card.h"
#include "recipes/run_report.h"
#include "recipes/run_reports.h"
#include "recipes/train/dtype_choice.h"
#include "recipes/train/proving.h"
#include "recipes/train/ranks.h"
#include "recipes/train/run_info.h"
#include "recipes/train/start.h"
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

std::optional<fs::path> choose_start_together(const TrainArguments& arguments, const Recipe& recipe,
                                              parallel::Communicator& world) {
  std::string chosen;
  parallel::on_first(world, [&] {
    chosen = choose_start({.output_dir = recipe.train.output_dir,
                           .resume = arguments.resume,
                           .resume_path = arguments.resume_path,
                           .overwrite = arguments.overwrite})
                 .value_or("")
                 .string();
  });
  chosen = parallel::text_of_first(world, chosen);
  require_shared(world, recipe.train.output_dir);
  return chosen.empty() ? std::nullopt : std::optional<fs::path>(chosen);
}

// What a rank has before its model: the same on all of them.
struct Prepared {
  ResolvedInputs inputs;
  std::optional<fs::path> checkpoint;
  double verify_seconds = 0;  // that finding and checking it took
  std::optional<data::Tokenizer> tokenizer;
  PreparedData data;
  std::optional<data::Loader> train_loader, eval_loader;
  at::Device device = at::kCPU;
  DtypeChoice dtype;
};

Prepared prepare(const TrainArguments& arguments, Recipe& recipe, Profile& profile,
                 parallel::Communicator& world) {
  Prepared p;
  parallel::together(world, [&] {
    p.device = choose_device(recipe.device);
    check_backend(recipe, p.device, world.size());
  });
  first_then_others(world, [&] { p.inputs = resolve_inputs(recipe); });
  const auto begin = std::chrono::steady_clock::now();
  p.checkpoint = choose_start_together(arguments, recipe, world);
  p.verify_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  kernels::install_caching_allocator();
  parallel::together(world, [&] {
    const models::ModelSpec spec = models::read_model_spec(p.inputs.model.folder);
    if (world.rank() == 0 && recipe.loader.max_length > spec.max_position_embeddings) {
      spdlog::warn("max_length {} is more than the {} positions the model was made for",
                   recipe.loader.max_length, spec.max_position_embeddings);
    }
    p.tokenizer = data::Tokenizer::load(p.inputs.tokenizer_folder);
    check_vocabulary(*p.tokenizer, spec, p.inputs);
    formats::open_weight_files(p.inputs.model.folder);
  });
  first_then_others(world, [&] {
    p.data = profile.timed("prepare data", [&] { return prepare_data(recipe, *p.tokenizer); });
  });
  parallel::together(world, [&] {
    p.train_loader.emplace(p.data.train, recipe.loader);
    if (p.data.eval) p.eval_loader.emplace(*p.data.eval, eval_loader_options(recipe));
    if (recipe.train.max_steps == 0)
      recipe.train.max_steps = steps_of_epochs(*p.train_loader, recipe.num_train_epochs);
  });
  p.dtype = choose_dtype_together(recipe.dtype, p.device, p.checkpoint, world);
  recipe.train.identity = run_identity(recipe, p.inputs, p.data, *p.tokenizer, p.dtype);
  require_same(world, recipe.train.identity, "ranks have other models or data");
  return p;
}

// On rank 0: what is read back, written, told and pushed once the model is there.
void conclude(Recipe& recipe, Profile& profile, Prepared& p, models::Model model,
              const trainer::TrainResult& result, const RunReports& reports) {
  const trainer::Proof proof = prove_run(std::move(model), recipe, p.inputs, p.data);
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

core::Json info_of_run(const Recipe& recipe, const Prepared& p) {
  core::Json info = run_info(recipe, p.inputs, p.data, p.dtype);
  add_statistics(p.data.train, *p.train_loader, recipe.loader, info["data"]["train"]);
  if (p.eval_loader) {
    add_statistics(*p.data.eval, *p.eval_loader, eval_loader_options(recipe), info["data"]["eval"]);
  }
  if (p.checkpoint) info["resumed_from"] = p.checkpoint->filename().string();
  return info;
}

int train(const TrainArguments& arguments, Recipe& recipe, Profile& profile,
          parallel::Communicator& world) {
  const bool is_first = world.rank() == 0;
  for (const std::string& note : recipe.notes) {
    if (is_first) spdlog::warn("{}", note);
  }
  require_same(world, {{"recipe", recipe.resolved}, {"build", build_hash()}},
               "ranks were started with other recipes or programs");
  Prepared p = prepare(arguments, recipe, profile, world);
  parallel::Mesh mesh = make_training_mesh(world, recipe, p.device);
  std::optional<models::Model> model;
  std::vector<trainer::SamplePrompt> prompts;
  std::vector<int64_t> eos_token_ids;
  parallel::together(world, [&] {
    model = profile.timed("load model", [&] {
      return load_to_train(recipe, p.inputs, p.dtype, p.device,
                           sharding_of(mesh, recipe.parallel.shard_level));
    });
    recipe.train.gemm_rate = trainer::measure_gemm_rate(p.dtype.type, p.device);
    recipe.train.run_info = info_of_run(recipe, p);
    prompts = sample_prompts(recipe, p.data, *p.tokenizer);
    eos_token_ids = trainer::end_token_ids(*model, p.inputs.model.folder, *p.tokenizer);
    if (arguments.overwrite && is_first) remove_old_run(recipe.train.output_dir);
  });
  recipe.train.strict = recipe.parallel.strict;
  recipe.train.ledger = arguments.ledger;
  // A GPU's copy engines are idle meanwhile; without a spare core waiting at the end is faster.
  recipe.train.overlap_reduce = mesh.replicate.backend_name() == "nccl";
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
       .on_moment = is_first ? tell : std::function<void(trainer::RunMoment)>()},
      recipe.train);
  if (result.stopped_by_signal) return static_cast<int>(ErrorKind::kStoppedEarly);
  const trainer::WholeModel whole(*model, mesh);
  parallel::on_first(world,
                     [&] { conclude(recipe, profile, p, std::move(*model), result, reports); });
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
    const int code = train(arguments, recipe, profile, world);
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
