#include "recipes/model_checks.h"

#include <string>
#include <vector>

#include "models/spec/shard_plan.h"

namespace hone::recipes {
namespace {

struct Misfit {
  std::string key, message;
};

std::vector<Misfit> length_misfits(const models::ModelSpec& spec, int64_t max_length) {
  if (max_length <= spec.max_position_embeddings) return {};
  return {{"max_length", "got " + std::to_string(max_length) +
                             ", expected at most the model's max_position_embeddings " +
                             std::to_string(spec.max_position_embeddings)}};
}

std::vector<Misfit> layout_misfits(const models::ModelSpec& spec, const parallel::Layout& layout,
                                   const ParallelOptions& options) {
  std::vector<Misfit> misfits;
  for (const auto& problem : models::shard_plan_problems(spec, layout, options.chunks_per_rank))
    misfits.push_back({problem.size, problem.equation});
  return misfits;
}

}  // namespace

void report_misfits(const CheckContext& context, const models::ModelSpec& spec,
                    const std::optional<RankPlan>& plan) {
  std::vector<Misfit> misfits;
  if (context.at("max_length").is_number())
    misfits = length_misfits(spec, context.at("max_length").get<int64_t>());
  if (plan) {
    for (Misfit& misfit : layout_misfits(spec, plan->layout, plan->options))
      misfits.push_back(std::move(misfit));
  }
  for (const Misfit& misfit : misfits) context.report(misfit.key, misfit.message);
}

void require_fit(const Recipe& recipe, const models::ModelSpec& spec) {
  std::vector<Problem> problems;
  for (const auto& misfits : {length_misfits(spec, recipe.loader.max_length),
                              layout_misfits(spec, recipe.layout, recipe.parallel)}) {
    for (const Misfit& misfit : misfits)
      problems.push_back(problem_at(recipe.places, misfit.key, misfit.message));
  }
  throw_problems(problems, recipe.path);
}

}  // namespace hone::recipes
