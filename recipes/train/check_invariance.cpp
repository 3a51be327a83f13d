// hone check invariance: whether loss and gradients of a recipe's model depend on how a step is
// grouped and executed.
#include <spdlog/spdlog.h>

#include <cstdio>

#include "kernels/allocator.h"
#include "recipes/inputs.h"
#include "recipes/train/training_model.h"
#include "recipes/train/verbs.h"
#include "trainer/invariance.h"

namespace hone::recipes {
namespace {

constexpr int kDiffers = 1;
constexpr int64_t kSteps = 2;
// Rounding of sums in another order: tests/models and tests/trainer hold tiny models to 2e-5.
constexpr double kFloatBound = 1e-4, kBfloatBound = 5e-2;

struct InvarianceArguments {
  std::string recipe;
  std::vector<std::string> overrides;
  int64_t max_length = 256, micro_batches = 4;
  double bound = -1;  // below 0: by dtype
};

// A few short rows of the recipe's data are enough.
void make_small(const InvarianceArguments& arguments, Recipe& recipe) {
  constexpr int64_t kRows = 64;
  for (data::DatasetSource& source : recipe.datasets)
    source.max_rows = source.max_rows > 0 ? std::min(source.max_rows, kRows) : kRows;
  recipe.eval_datasets.clear();
  recipe.eval_split = 0;
  recipe.loader.max_length = std::min(recipe.loader.max_length, arguments.max_length);
  recipe.dataset_options.max_length = recipe.loader.max_length;
  recipe.loader.packing = true;
  recipe.loader.micro_batch_size = 1;
  recipe.loader.gradient_accumulation_steps = arguments.micro_batches;
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
  std::printf("%-26s %-26s %9s %9s %9s\n", "", "against", "loss", "gradient", "bound");
}

bool print_rows(const std::vector<trainer::VariantDifference>& rows) {
  bool all = true;
  for (const trainer::VariantDifference& row : rows) {
    all = all && row.holds();
    std::printf("%-26s %-26s %9.1e %9.1e %9.0e  %s%s%s\n", row.name.c_str(), row.against.c_str(),
                row.loss, row.gradient, row.bound, row.holds() ? "ok" : "FAILED",
                row.tensor.empty() ? "" : "  largest in ", row.tensor.c_str());
  }
  return all;
}

int check_invariance(const InvarianceArguments& arguments) {
  Recipe recipe = load_recipe(arguments.recipe, {.overrides = arguments.overrides});
  make_small(arguments, recipe);
  const ResolvedInputs inputs = resolve_inputs(recipe);
  kernels::install_caching_allocator();
  const data::Tokenizer tokenizer = data::Tokenizer::load(inputs.tokenizer_folder);
  check_vocabulary(tokenizer, models::read_model_spec(inputs.model.folder), inputs);
  const PreparedData data = prepare_data(recipe, tokenizer);
  const at::Device device = choose_device(recipe.device);
  const DtypeChoice dtype = choose_run_dtype(recipe.dtype, device, std::nullopt);
  const double by_dtype = dtype.type == at::kFloat ? kFloatBound : kBfloatBound;
  const double bound = arguments.bound < 0 ? by_dtype : arguments.bound;
  auto steps = make_steps(recipe, data::Loader(data.train, recipe.loader),
                          tokenizer.pad_token_id().value_or(0), bound);
  const trainer::InvarianceOptions options{.seed = recipe.train.seed,
                                           .learning_rate = recipe.train.schedule.learning_rate,
                                           .optimizer = recipe.train.optimizer};
  Recipe without_dropout = recipe;
  without_dropout.adapter.lora_dropout = 0;
  models::Model model = load_to_train(without_dropout, inputs, dtype, device);
  // A continued adapter brings its own.
  if (model.adapter.lora_dropout > 0) keep_first_grouping(steps);
  print_head(recipe, dtype, steps);
  bool all = print_rows(trainer::compare_variants(model, steps, options));
  if (recipe.adapter.lora_dropout > 0 && model.adapter.lora_dropout == 0) {
    model = load_to_train(recipe, inputs, dtype, device);
    keep_first_grouping(steps);
    all = print_rows(trainer::compare_variants(model, steps, options)) && all;
  }
  std::printf("%s\n", all ? "invariant" : "NOT invariant");
  return all ? 0 : kDiffers;
}

}  // namespace

void add_check(CLI::App& app, Action& chosen) {
  CLI::App* check = app.add_subcommand("check", "Check that a model trains as it should");
  check->require_subcommand(1);
  auto a = std::make_shared<InvarianceArguments>();
  CLI::App* verb = check->add_subcommand(
      "invariance",
      "Gradients under accumulation, packing, padding and recompute, on a few rows of a recipe");
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
  verb->callback([&chosen, a] { chosen = [a] { return check_invariance(*a); }; });
}

}  // namespace hone::recipes
