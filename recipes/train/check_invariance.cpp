// hone check invariance: whether loss and gradients of a recipe's model depend on how a step is
// grouped and executed; under mpirun, on how it is dealt out to ranks.
#include <spdlog/spdlog.h>

#include <cstdio>
#include <optional>

#include "kernels/allocator.h"
#include "recipes/inputs.h"
#include "recipes/train/layouts_to_check.h"
#include "recipes/train/ranks.h"
#include "recipes/train/training_model.h"
#include "recipes/train/verbs.h"
#include "trainer/invariance.h"
#include "trainer/layout_invariance.h"

namespace hone::recipes {
namespace {

constexpr int kDiffers = 1;
constexpr int64_t kSteps = 2;
// Rounding of sums in another order: tests/models and tests/trainer hold tiny models to 2e-5.
constexpr double kFloatBound = 1e-4, kBfloatBound = 5e-2;
// Layers, tokens or stages that ranks split between them, in float32.
constexpr double kSplitLossBound = 1e-6, kSplitBound = 3e-5;

struct InvarianceArguments {
  std::string recipe;
  std::vector<std::string> overrides;
  int64_t max_length = 256, micro_batches = 4;
  double bound = -1;  // below 0: by dtype
};

// A few short rows of the recipe's data are enough.
void make_small(const InvarianceArguments& arguments, int64_t num_ranks, Recipe& recipe) {
  constexpr int64_t kRows = 64;
  for (data::DatasetSource& source : recipe.datasets)
    source.max_rows = source.max_rows > 0 ? std::min(source.max_rows, kRows) : kRows;
  recipe.eval_datasets.clear();
  recipe.eval_split = 0;
  recipe.loader.max_length = std::min(recipe.loader.max_length, arguments.max_length);
  recipe.dataset_options.max_length = recipe.loader.max_length;
  recipe.loader.packing = true;
  recipe.loader.micro_batch_size = 1;
  // One more than ranks: one of them has another number than the others.
  recipe.loader.gradient_accumulation_steps =
      num_ranks > 1 ? std::max(arguments.micro_batches, num_ranks + 1) : arguments.micro_batches;
}

std::vector<std::vector<trainer::StepVariant>> make_steps(const Recipe& recipe,
                                                          const data::Loader& loader,
                                                          int32_t pad_id, double bound) {
  std::vector<std::vector<trainer::StepVariant>> steps;
  for (int64_t step = 0; step < kSteps; ++step) {
    std::vector<data::MicroBatch> micro_batches;
    for (int64_t i = 0; i < loader.num_micro_batches(step); ++i)
      micro_batches.push_back(loader.micro_batch(step, i));
    steps.push_back(
        trainer::standard_variants(micro_batches, recipe.loader.max_length, pad_id, bound));
  }
  return steps;
}

// Dropout draws by position in the micro-batch, so only variants of one grouping share it.
void keep_first_grouping(std::vector<std::vector<trainer::StepVariant>>& steps) {
  for (std::vector<trainer::StepVariant>& variants : steps) {
    variants = {variants.front(), variants.back()};
    variants.back().name += ", dropout on";
  }
}

void print_columns() {
  std::printf("%-40s %-20s %9s %7s %9s %7s\n", "", "against", "loss", "bound", "gradient", "bound");
}

void print_head(const Recipe& recipe, const DtypeChoice& dtype,
                const std::vector<std::vector<trainer::StepVariant>>& steps) {
  size_t documents = 0, tokens = 0, micro_batches = 0;
  for (const std::vector<trainer::StepVariant>& variants : steps) {
    for (const data::MicroBatch& batch : variants.front().micro_batches) {
      documents += batch.cu_doc_lens.size() - 1;
      tokens += batch.input_ids.size();
      ++micro_batches;
    }
  }
  std::printf("%s in %s: %lld steps, %zu micro-batches, %zu documents, %zu tokens\n",
              recipe.model_name_or_path.c_str(), dtype.name.c_str(), static_cast<long long>(kSteps),
              micro_batches, documents, tokens);
  print_columns();
}

bool print_rows(const std::vector<trainer::VariantDifference>& rows) {
  bool all = true;
  for (const trainer::VariantDifference& row : rows) {
    all = all && row.holds();
    std::printf("%-40s %-20s %9.1e %7.0e %9.1e %7.0e  %s%s%s\n", row.name.c_str(),
                row.against.c_str(), row.loss, row.loss_bound, row.gradient, row.bound,
                row.holds() ? "ok" : "FAILED", row.tensor.empty() ? "" : "  largest in ",
                row.tensor.c_str());
  }
  return all;
}

// What the variants are made of: the same on every rank.
struct Subject {
  Recipe recipe;
  ResolvedInputs inputs;
  std::optional<data::Tokenizer> tokenizer;
  PreparedData data;
  DtypeChoice dtype;
  at::Device device = at::kCPU;
  double bound = 0;
  bool has_own_bounds = false;  // float32, and no other was asked for
  trainer::InvarianceOptions options;
};

Subject prepare(const InvarianceArguments& arguments, parallel::Communicator& world) {
  Subject s;
  parallel::together(world, [&] {
    s.recipe =
        load_recipe(arguments.recipe, {.overrides = arguments.overrides, .num_ranks = kAnyRanks});
    make_small(arguments, world.size(), s.recipe);
  });
  first_then_others(world, [&] { s.inputs = resolve_inputs(s.recipe); });
  kernels::install_caching_allocator();
  parallel::together(world, [&] {
    s.tokenizer = data::Tokenizer::load(s.inputs.tokenizer_folder);
    check_vocabulary(*s.tokenizer, models::read_model_spec(s.inputs.model.folder), s.inputs);
    s.device = choose_device(s.recipe.device);
  });
  first_then_others(world, [&] { s.data = prepare_data(s.recipe, *s.tokenizer); });
  s.dtype = choose_dtype_together(s.recipe.dtype, s.device, std::nullopt, world);
  const double by_dtype = s.dtype.type == at::kFloat ? kFloatBound : kBfloatBound;
  s.bound = arguments.bound < 0 ? by_dtype : arguments.bound;
  s.has_own_bounds = arguments.bound < 0 && s.dtype.type == at::kFloat;
  s.options = {.seed = s.recipe.train.seed,
               .learning_rate = s.recipe.train.schedule.learning_rate,
               .optimizer = s.recipe.train.optimizer};
  return s;
}

bool check_groupings(const Subject& s, const data::Loader& loader) {
  auto steps = make_steps(s.recipe, loader, s.tokenizer->pad_token_id().value_or(0), s.bound);
  Recipe without_dropout = s.recipe;
  without_dropout.adapter.lora_dropout = 0;
  models::Model model = load_to_train(without_dropout, s.inputs, s.dtype, s.device);
  // A continued adapter brings its own.
  if (model.adapter.lora_dropout > 0) keep_first_grouping(steps);
  print_head(s.recipe, s.dtype, steps);
  bool all = print_rows(trainer::compare_variants(model, steps, s.options));
  if (s.recipe.adapter.lora_dropout > 0 && model.adapter.lora_dropout == 0) {
    model = load_to_train(s.recipe, s.inputs, s.dtype, s.device);
    keep_first_grouping(steps);
    all = print_rows(trainer::compare_variants(model, steps, s.options)) && all;
  }
  return all;
}

trainer::LayoutVariant variant_of(const Subject& s, const LayoutToCheck& layout, bool strict) {
  trainer::LayoutVariant variant{.name = layout.name() + (strict ? ", strict" : ""),
                                 .strict = strict,
                                 .same_start = layout.is_split()};
  if (!strict) variant.loss_bound = variant.bound = s.bound;
  if (layout.is_split() && s.has_own_bounds) {
    variant.loss_bound = kSplitLossBound;
    variant.bound = kSplitBound;
  }
  return variant;
}

// Loads both sides anew: the steps change them.
trainer::VariantDifference check_layout(const Subject& s, const LayoutToCheck& layout, bool strict,
                                        const std::vector<std::vector<data::MicroBatch>>& steps,
                                        parallel::Communicator& world) {
  Recipe recipe = s.recipe;
  recipe.layout = layout.layout;
  recipe.parallel.shard_level = layout.level;
  recipe.parallel.chunks_per_rank = 1;
  parallel::Mesh mesh = make_training_mesh(world, recipe, s.device);
  std::optional<models::Model> one, sharded;
  parallel::together(world, [&] {
    one = load_to_train(recipe, s.inputs, s.dtype, s.device);
    sharded = load_to_train(recipe, s.inputs, s.dtype, s.device, &mesh);
  });
  return trainer::compare_layout(*one, *sharded, mesh, steps, variant_of(s, layout, strict),
                                 s.options);
}

bool check_layouts(const Subject& s, const data::Loader& loader, parallel::Communicator& world) {
  const bool speaks = world.rank() == 0;
  std::vector<std::vector<data::MicroBatch>> steps(kSteps);
  for (int64_t step = 0; step < kSteps; ++step) {
    for (int64_t i = 0; i < loader.num_micro_batches(step); ++i)
      steps[static_cast<size_t>(step)].push_back(loader.micro_batch(step, i));
  }
  const LayoutsToCheck wanted =
      layouts_to_check(models::read_model_spec(s.inputs.model.folder), world.size());
  if (speaks) print_columns();
  const bool power_of_two = (world.size() & (world.size() - 1)) == 0;
  bool all = true;
  for (const LayoutToCheck& layout : wanted.layouts) {
    for (const bool strict : {false, true}) {
      if (strict && (layout.is_split() || !power_of_two)) continue;
      const auto row = check_layout(s, layout, strict, steps, world);
      all = (speaks ? print_rows({row}) : row.holds()) && all;
    }
  }
  for (const std::string& line : wanted.left_out) {
    if (speaks) std::printf("left out: %s\n", line.c_str());
  }
  return all;
}

int check_invariance(const InvarianceArguments& arguments, parallel::Communicator& world) {
  const Subject s = prepare(arguments, world);
  const data::Loader loader(s.data.train, s.recipe.loader);
  bool all = true;
  parallel::on_first(world, [&] { all = check_groupings(s, loader); });
  if (world.size() > 1) all = check_layouts(s, loader, world) && all;
  int32_t holds = all ? 1 : 0;
  world.all_reduce(&holds, &holds, 1, parallel::DType::kInt32, parallel::ReduceOp::kMin);
  if (world.rank() == 0) std::printf("%s\n", holds != 0 ? "invariant" : "NOT invariant");
  return holds != 0 ? 0 : kDiffers;
}

}  // namespace

void add_check(CLI::App& app, Action& chosen) {
  CLI::App* check = app.add_subcommand("check", "Check that a model trains as it should");
  check->require_subcommand(1);
  auto a = std::make_shared<InvarianceArguments>();
  CLI::App* verb = check->add_subcommand(
      "invariance",
      "Gradients under accumulation, packing, padding, recompute and, with mpirun, on ranks, on a "
      "few rows of a recipe");
  verb->add_option("recipe", a->recipe, "Recipe file")->required();
  verb->add_option("--set", a->overrides, "Override a key: key=value")->expected(1)->take_all();
  verb->add_option("--max-length", a->max_length,
                   "Tokens a row is cut at, if the recipe's are more")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 24));
  verb->add_option("--micro-batches", a->micro_batches, "Micro-batches of a step")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 16));
  verb->add_option("--bound", a->bound, "Largest difference allowed, instead of the dtype's")
      ->check(CLI::NonNegativeNumber);
  verb->callback([&chosen, a] {
    chosen = [a] {
      return on_ranks([a](parallel::Communicator& world) { return check_invariance(*a, world); });
    };
  });
}

}  // namespace hone::recipes
