#include "recipes/train/model_ranks.h"

#include <optional>
#include <string>

#include "core/error.h"
#include "models/spec/shard_plan.h"
#include "parallel/comm/agree.h"
#include "recipes/train/dtype_choice.h"
#include "recipes/train/ranks.h"
#include "trainer/gather.h"

namespace hone::recipes {
namespace {

using core::Json;

constexpr int64_t kMostRanks = 1 << 14;  // of an axis: three of them multiply without overflow

CLI::Option* add_size(CLI::App& verb, const char* name, int64_t& size, const char* text) {
  return verb.add_option(name, size, text)
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, kMostRanks));
}

std::string ranks_text(int64_t count) {
  return std::to_string(count) + (count == 1 ? " rank" : " ranks");
}

// "--tensor-parallel-size 2 x --pipeline-parallel-size 1 = 2"
std::string equation_of(const parallel::Layout& sizes) {
  std::string text = "--tensor-parallel-size " + std::to_string(sizes.tp) +
                     " x --pipeline-parallel-size " + std::to_string(sizes.pp);
  if (sizes.cp > 1) text += " x --context-parallel-size " + std::to_string(sizes.cp);
  return text + " = " + std::to_string(sizes.tp * sizes.pp * sizes.cp);
}

[[noreturn]] void fail_count(int64_t num_ranks, const std::string& expected) {
  core::fail(core::ErrorKind::kUsage, {.what = "the number of ranks does not fit the sizes",
                                       .got = ranks_text(num_ranks),
                                       .expected = expected,
                                       .hint = "mpirun -np sets the number of ranks"});
}

void require_division(const models::ModelSpec& spec, const parallel::Layout& layout) {
  std::string text;
  for (const auto& problem : models::shard_plan_problems(spec, layout, 1))
    text += "\n  " + problem.equation;
  if (text.empty()) return;
  core::fail(core::ErrorKind::kBadRecipe,
             {.what = "the model can't be divided over these ranks" + text});
}

Json configs_of(const ModelFolders& folders) {
  Json configs{{"model", core::read_json_file(folders.base / "config.json")}};
  if (folders.adapter)
    configs["adapter"] = core::read_json_file(*folders.adapter / "adapter_config.json");
  return configs;
}

Json words_of(const ModelArguments& arguments) {
  return {{"model", arguments.model},
          {"adapter", arguments.adapter},
          {"base", arguments.base},
          {"dtype", arguments.dtype},
          {"device", arguments.device}};
}

}  // namespace

void add_rank_options(CLI::App& verb, parallel::Layout& sizes) {
  add_size(verb, "--tensor-parallel-size", sizes.tp,
           "With mpirun: ranks that compute every layer together");
  add_size(verb, "--pipeline-parallel-size", sizes.pp,
           "With mpirun: ranks that have some of the layers each");
}

void add_context_option(CLI::App& verb, parallel::Layout& sizes) {
  add_size(verb, "--context-parallel-size", sizes.cp,
           "With mpirun: ranks that have some of a row's tokens each");
}

parallel::Layout exact_layout(const parallel::Layout& sizes, int64_t num_ranks) {
  if (sizes.num_ranks() != num_ranks) fail_count(num_ranks, equation_of(sizes));
  return sizes;
}

parallel::Layout filled_layout(const parallel::Layout& sizes, int64_t num_ranks) {
  const parallel::FilledLayout filled = parallel::fill_dp_replicate(sizes, num_ranks);
  if (!filled.problems.empty()) fail_count(num_ranks, "a multiple of " + equation_of(sizes));
  return filled.layout;
}

ModelFolders find_model_together(const ModelArguments& arguments, const parallel::Layout& layout,
                                 const Json& options, parallel::Communicator& world) {
  require_same(world,
               {{"model", words_of(arguments)},
                {"layout", parallel::layout_to_json(layout)},
                {"options", options}},
               "ranks were started with other options");
  ModelFolders folders;
  first_then_others(world, [&] { folders = find_model(arguments); });
  Json configs;
  parallel::together(world, [&] {
    require_division(models::read_model_spec(folders.base), layout);
    configs = configs_of(folders);
  });
  require_same(world, configs, "ranks have other models");
  return folders;
}

ModelOnRanks load_on_ranks(const ModelFolders& folders, const ModelArguments& arguments,
                           const parallel::Layout& layout, int64_t tokens,
                           parallel::Communicator& world) {
  at::Device device = at::kCPU;
  parallel::together(world, [&] { device = choose_device(arguments.device); });
  parallel::Mesh mesh = make_rank_mesh(world, layout, "auto", device);
  std::optional<models::Model> model;
  parallel::together(world, [&] {
    parallel::Pipeline pipeline;
    if (layout.pp > 1) {
      const models::ModelSpec spec = models::read_model_spec(folders.base);
      pipeline = parallel::make_pipeline(models::stage_costs(spec, tokens), layout.pp, 1);
    }
    model = load_for_inference(
        folders, arguments,
        {.sharding = trainer::sharding_of(mesh, parallel::kShardParameters, pipeline),
         .groups = trainer::compute_groups(mesh)});
  });
  trainer::share_parameters(*model, mesh);
  return {.mesh = std::move(mesh), .model = std::move(*model)};
}

}  // namespace hone::recipes
