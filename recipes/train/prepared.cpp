#include "recipes/train/prepared.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "formats/weight_files.h"
#include "kernels/allocator.h"
#include "parallel/comm/agree.h"
#include "recipes/model_checks.h"
#include "recipes/run_report.h"
#include "recipes/train/ranks.h"
#include "recipes/train/run_info.h"
#include "recipes/train/training_model.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;

// num_train_epochs as updates: whole epochs by their own number of steps, a fraction rounded up.
int64_t steps_of_epochs(const data::Loader& loader, double num_epochs) {
  int64_t steps = 0;
  const auto whole = static_cast<int64_t>(num_epochs);
  for (int64_t epoch = 0; epoch < whole; ++epoch) steps += loader.num_steps_per_epoch(epoch);
  const double rest = (num_epochs - static_cast<double>(whole)) *
                      static_cast<double>(loader.num_steps_per_epoch(whole));
  return std::max<int64_t>(1, steps + static_cast<int64_t>(std::ceil(rest - 1e-9)));
}

std::optional<fs::path> choose_start_together(const StartOptions& start,
                                              parallel::Communicator& world) {
  std::string chosen;
  parallel::on_first(world, [&] { chosen = choose_start(start).value_or("").string(); });
  chosen = parallel::text_of_first(world, chosen);
  require_shared(world, start.output_dir);
  return chosen.empty() ? std::nullopt : std::optional<fs::path>(chosen);
}

}  // namespace

Prepared prepare(const StartOptions& start, Recipe& recipe, Profile& profile,
                 parallel::Communicator& world) {
  Prepared p;
  parallel::together(world, [&] {
    p.device = choose_device(recipe.device);
    check_backend(recipe.parallel.backend, p.device, world.size());
  });
  first_then_others(world, [&] { p.inputs = resolve_inputs(recipe); });
  parallel::together(world,
                     [&] { require_fit(recipe, models::read_model_spec(p.inputs.model.folder)); });
  const auto begin = std::chrono::steady_clock::now();
  p.checkpoint = choose_start_together(start, world);
  p.verify_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  kernels::install_caching_allocator();
  parallel::together(world, [&] {
    const models::ModelSpec spec = models::read_model_spec(p.inputs.model.folder);
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

core::Json info_of_run(const Recipe& recipe, const Prepared& p) {
  core::Json info = run_info(recipe, p.inputs, p.data, p.dtype);
  add_statistics(p.data.train, *p.train_loader, recipe.loader, info["data"]["train"]);
  if (p.eval_loader) {
    add_statistics(*p.data.eval, *p.eval_loader, eval_loader_options(recipe), info["data"]["eval"]);
  }
  if (p.checkpoint) info["resumed_from"] = p.checkpoint->filename().string();
  return info;
}

}  // namespace hone::recipes
