#include "recipes/plan/shard_table.h"

#include <algorithm>

#include "models/spec/sharding.h"
#include "models/spec/stage_bytes.h"
#include "models/spec/stage_name.h"
#include "models/spec/trained_modules.h"

namespace hone::recipes {
namespace {

constexpr int64_t kFloat = 4;
constexpr int64_t kMoments = 2;

// On a CPU frozen weights of the compute dtype are used where their file is mapped
// (models/mapped_weights.h), if they are not cut and lie beside those they are multiplied with: in
// Hugging Face's files, which are sorted by name, q, k and v do not.
bool maps_frozen(const PlanInput& input) {
  return !input.hardware.is_gpu && input.spec.dtype == (input.is_bfloat16 ? "bfloat16" : "float32");
}

bool is_alone(const std::string& key) {
  return key.find("q_proj") == std::string::npos && key.find("k_proj") == std::string::npos &&
         key.find("v_proj") == std::string::npos;
}

std::vector<StageShare> shares_of(const std::vector<models::PlannedParameter>& plan,
                                  size_t num_stages, bool maps_frozen) {
  std::vector<StageShare> shares(num_stages);
  for (const models::PlannedParameter& planned : plan) {
    StageShare& share = shares[static_cast<size_t>(planned.stage)];
    const int64_t count = planned.num_held();
    const bool is_mapped = maps_frozen && !planned.trainable &&
                           planned.source == models::ParameterSource::kBaseFile &&
                           is_alone(planned.key) && planned.held_shape() == planned.shape;
    (planned.trainable ? share.trainable : is_mapped ? share.mapped : share.frozen) += count;
    if (planned.shape.size() != 2) continue;
    (planned.trainable ? share.trained_matrix : share.frozen_matrix) += count;
  }
  return shares;
}

int64_t numel(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

// Part of a flat buffer that is kept where `is_sharded`, else all of it.
int64_t kept(int64_t count, bool is_sharded, int64_t index, int64_t num_parts) {
  return is_sharded ? parallel::part_of(count, index, num_parts).size() : count;
}

KeptBytes kept_of_stage(const PlanInput& input, const StageShare& share, int64_t index,
                        int64_t num_parts) {
  const auto shards = [&](int64_t level) { return num_parts > 1 && input.shard_level >= level; };
  const bool sharded_parameters = shards(parallel::kShardParameters);
  const bool sharded_masters = input.is_bfloat16 ? num_parts > 1 : sharded_parameters;
  const int64_t own = parallel::part_of(share.trainable, index, num_parts).size();
  KeptBytes bytes;
  bytes.parameters = kFloat * kept(share.trainable, sharded_masters, index, num_parts);
  if (input.is_bfloat16 && !sharded_parameters)
    bytes.parameters += input.element_bytes() * share.trainable;
  bytes.parameters += input.element_bytes() *
                      (share.mapped + kept(share.frozen, sharded_parameters, index, num_parts));
  bytes.gradients =
      kFloat * kept(share.trainable, shards(parallel::kShardGradients), index, num_parts);
  bytes.optimizer = kMoments * kFloat * own;
  return bytes;
}

// Of a micro-batch in every stage, of the tensor rank that has most of each.
void fill_activations(const PlanInput& input, ShardTable& table) {
  const models::TrainedModules trained = models::trained_modules(input.spec, input.adapter);
  models::MicroBatchShape shape{.tokens = input.micro_batch_tokens(),
                                .element_bytes = input.element_bytes(),
                                .slicer = {.index = 0, .count = input.layout.tp},
                                .cp = input.layout.cp};
  std::vector<models::StageBytes> most = models::stage_bytes(input.spec, trained, shape);
  // Ranks differ where neighbours share key/value heads.
  const bool are_alike = input.spec.num_kv_heads % input.layout.tp == 0;
  for (int64_t rank = 1; rank < input.layout.tp && !are_alike; ++rank) {
    shape.slicer.index = rank;
    const auto own = models::stage_bytes(input.spec, trained, shape);
    for (size_t i = 0; i < own.size(); ++i) {
      most[i].graph = std::max(most[i].graph, own[i].graph);
      most[i].forward_work = std::max(most[i].forward_work, own[i].forward_work);
      most[i].graph_work = std::max(most[i].graph_work, own[i].graph_work);
      most[i].backward_work = std::max(most[i].backward_work, own[i].backward_work);
    }
  }
  models::fill_bytes(table.stages, most);
  shape.slicer.index = 0;
  table.batch_bytes = models::batch_bytes(input.spec, shape);
}

}  // namespace

ShardTable make_shard_table(const PlanInput& input) {
  ShardTable table;
  const auto num_stages = static_cast<size_t>(input.spec.num_layers()) + 2;
  std::vector<models::PlannedParameter> plan = models::plan_parameters(
      input.spec, input.adapter, /*train_base=*/!input.adapter.enabled(), /*continued=*/false);
  table.has_tied_head = models::has_tied_head(plan);
  std::vector<int64_t> trainable(num_stages);
  for (const models::PlannedParameter& planned : plan) {
    const int64_t count = numel(planned.shape);
    table.num_parameters += count;
    if (planned.trainable) trainable[static_cast<size_t>(planned.stage)] += count;
  }
  const bool is_sharded = input.layout.dp_shard * input.layout.cp > 1 &&
                          input.shard_level >= parallel::kShardParameters;
  const bool adapts_embedding = std::ranges::any_of(
      plan, [](const auto& planned) { return planned.key == "model.embed_tokens.lora_A"; });
  for (size_t i = 0; i < num_stages; ++i) {
    table.num_trainable += trainable[i];
    table.stages.push_back(
        {.name = models::stage_name(static_cast<int64_t>(i), static_cast<int64_t>(num_stages)),
         .num_trainable = trainable[i],
         .backward_reads_parameters = i > 0 || adapts_embedding,
         .is_gathered = is_sharded});
  }
  if (table.has_tied_head) table.stages.back().shares_with = 0;
  for (int64_t rank = 0; rank < input.layout.tp; ++rank) {
    models::slice_plan(plan, input.spec, {.slicer = {.index = rank, .count = input.layout.tp}});
    table.shares.push_back(shares_of(plan, num_stages, maps_frozen(input)));
  }
  fill_activations(input, table);
  return table;
}

std::vector<KeptBytes> kept_bytes(const PlanInput& input, const ShardTable& table) {
  const parallel::Layout& layout = input.layout;
  const int64_t num_parts = layout.dp_shard * layout.cp;
  std::vector<KeptBytes> ranks(static_cast<size_t>(layout.num_ranks()));
  std::vector<std::vector<bool>> held;
  for (int64_t place = 0; place < layout.pp; ++place)
    held.push_back(parallel::held_stages(table.stages, input.pipeline, place));
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const auto position = parallel::rank_position(layout, static_cast<int64_t>(rank));
    const int64_t index = position.shard * layout.cp + position.context;
    for (size_t stage = 0; stage < table.stages.size(); ++stage) {
      if (!held[static_cast<size_t>(position.pipeline)][stage]) continue;
      const KeptBytes bytes =
          kept_of_stage(input, table.of(position.tensor, stage), index, num_parts);
      ranks[rank].parameters += bytes.parameters;
      ranks[rank].gradients += bytes.gradients;
      ranks[rank].optimizer += bytes.optimizer;
    }
  }
  return ranks;
}

}  // namespace hone::recipes
