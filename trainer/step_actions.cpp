#include "trainer/step_actions.h"

#include "trainer/step.h"

namespace hone::trainer {

std::vector<parallel::Action> actions_of_step(const models::Model& model,
                                              const parallel::Mesh& mesh,
                                              const TrainOptions& options,
                                              int64_t num_micro_batches) {
  return parallel::make_step(describe_stages(model), mesh.layout, mesh.rank,
                             {.num_micro_batches = num_micro_batches,
                              .recompute = options.gradient_checkpointing,
                              .shard_level = model.sharding.level,
                              .strict = options.strict,
                              .overlap_reduce = options.overlap_reduce,
                              .pipeline = model.sharding.pipeline});
}

}  // namespace hone::trainer
