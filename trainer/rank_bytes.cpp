#include "trainer/rank_bytes.h"

#include "models/flat_memory.h"
#include "models/spec/trained_modules.h"
#include "trainer/process_stats.h"
#include "trainer/step.h"

namespace hone::trainer {
namespace {

int64_t num_bytes(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<int64_t>(tensor.nbytes()) : 0;
}

// Of a flat buffer: the whole of it where that is kept, else the rank's part.
int64_t kept_bytes(const at::Tensor& whole, const at::Tensor& part) {
  return models::has_memory(whole) ? num_bytes(whole) : num_bytes(part);
}

std::vector<int64_t> of_all_ranks(parallel::Mesh& mesh, int64_t mine) {
  std::vector<int64_t> all(static_cast<size_t>(mesh.host.size()));
  mesh.host.all_gather(&mine, all.data(), 1, parallel::DType::kInt64);
  return all;
}

}  // namespace

int64_t parameter_bytes(const models::Model& model) {
  int64_t bytes = 0;
  for (const models::Stage& stage : model.stages) {
    bytes += kept_bytes(stage.trainable, stage.kept.trainable);
    const bool has_copy = !stage.compute.is_alias_of(stage.trainable);
    if (has_copy && models::has_memory(stage.compute)) bytes += num_bytes(stage.compute);
    bytes += kept_bytes(stage.frozen, stage.kept.frozen);
    for (const models::Parameter& parameter : stage.parameters) {
      const bool is_mapped =
          !parameter.grad.defined() && !parameter.value.is_alias_of(stage.frozen);
      if (is_mapped) bytes += num_bytes(parameter.value);
    }
  }
  return bytes;
}

int64_t gradient_bytes(const models::Model& model) {
  int64_t bytes = 0;
  for (const models::Stage& stage : model.stages)
    bytes += kept_bytes(stage.grads, stage.kept.grads);
  return bytes;
}

int64_t activation_bytes(const models::Model& model, const parallel::Mesh& mesh,
                         const std::vector<parallel::Action>& actions, int64_t tokens) {
  const auto element_bytes = static_cast<int64_t>(c10::elementSize(model.compute_dtype));
  const models::MicroBatchShape shape{.tokens = tokens,
                                      .element_bytes = element_bytes,
                                      .slicer = model.sharding.slicer,
                                      .cp = mesh.layout.cp};
  const auto trained = models::trained_modules(model.spec, model.adapter);
  std::vector<parallel::StageDescriptor> stages = describe_stages(model);
  models::fill_bytes(stages, models::stage_bytes(model.spec, trained, shape));
  return parallel::peak_activation_bytes(actions, stages, model.sharding.pipeline,
                                         model.sharding.pipeline_rank,
                                         models::batch_bytes(model.spec, shape));
}

RankBytes gather_rank_bytes(parallel::Mesh& mesh, const models::Model& model,
                            const OptimizerState& optimizer, int64_t activations) {
  return {.parameters = of_all_ranks(mesh, parameter_bytes(model)),
          .gradients = of_all_ranks(mesh, gradient_bytes(model)),
          .optimizer = of_all_ranks(mesh, optimizer_bytes(optimizer)),
          .activations = of_all_ranks(mesh, activations)};
}

std::vector<int64_t> gather_peak_bytes(parallel::Mesh& mesh) {
  return of_all_ranks(mesh, peak_resident_bytes());
}

}  // namespace hone::trainer
