#include "recipes/pipeline_plan.h"

#include <cstdio>

#include "models/spec/shard_plan.h"
#include "parallel/step_ranks.h"

namespace hone::recipes {
namespace {

std::string stages_text(const parallel::Pipeline& pipeline) {
  std::string text = "stages ";
  for (int64_t rank = 0; rank < pipeline.num_ranks; ++rank) {
    if (rank > 0) text += ", ";
    for (int64_t chunk = rank; chunk < pipeline.num_chunks(); chunk += pipeline.num_ranks) {
      const int64_t first = pipeline.chunk_begins[static_cast<size_t>(chunk)],
                    last = pipeline.chunk_end(chunk) - 1;
      text += chunk == rank ? "" : " and ";
      text += std::to_string(first) + (last > first ? "-" + std::to_string(last) : "");
    }
    text += " on pp rank " + std::to_string(rank);
  }
  return text;
}

std::string bubble_text(const Recipe& recipe) {
  const long long pp = recipe.layout.pp, m = recipe.accumulation,
                  v = recipe.parallel.chunks_per_rank;
  char text[160];
  std::snprintf(text, sizeof text,
                "bubble (%lld - 1) / (%lld micro-batches x %lld + %lld - 1) = %.1f %%", pp, m, v,
                pp, 100 * pipeline_bubble(recipe));
  return text;
}

// "": too many micro-batches to run them through.
std::string share_text(const Recipe& recipe, const models::ModelSpec& spec) {
  constexpr int64_t kMost = 1024;
  if (recipe.accumulation > kMost) return "";
  char text[80];
  std::snprintf(text, sizeof text, ", %.1f %% by the costs of these stages",
                100 * bubble_of_stages(recipe, spec));
  return text;
}

}  // namespace

parallel::Pipeline pipeline_of(const Recipe& recipe, const models::ModelSpec& spec) {
  if (recipe.layout.pp == 1) return parallel::whole_pipeline(spec.num_layers() + 2);
  return parallel::make_pipeline(models::stage_costs(spec, recipe.loader.max_length),
                                 recipe.layout.pp, recipe.parallel.chunks_per_rank);
}

double pipeline_bubble(const Recipe& recipe) {
  const auto waits = static_cast<double>(recipe.layout.pp - 1);
  return waits /
         (static_cast<double>(recipe.accumulation * recipe.parallel.chunks_per_rank) + waits);
}

double bubble_of_stages(const Recipe& recipe, const models::ModelSpec& spec) {
  const std::vector<double> costs = models::stage_costs(spec, recipe.loader.max_length);
  std::vector<parallel::StageDescriptor> stages(costs.size());
  for (parallel::StageDescriptor& stage : stages) stage.num_trainable = 1;
  return parallel::bubble_share(stages, costs, pipeline_of(recipe, spec), recipe.accumulation,
                                recipe.train.gradient_checkpointing);
}

std::string layout_text(const Recipe& recipe, const std::optional<models::ModelSpec>& spec) {
  std::string text = parallel::describe_layout(recipe.layout);
  if (recipe.layout.pp == 1) return text;
  const int64_t chunks = recipe.parallel.chunks_per_rank;
  if (spec) {
    return text + "; " + stages_text(pipeline_of(recipe, *spec)) + "; " + bubble_text(recipe) +
           share_text(recipe, *spec);
  }
  return text + "; " + std::to_string(chunks) + (chunks == 1 ? " chunk" : " chunks") + " a rank; " +
         bubble_text(recipe);
}

}  // namespace hone::recipes
