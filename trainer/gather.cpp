#include "trainer/gather.h"

#include <ATen/core/grad_mode.h>

#include "core/error.h"
#include "models/flat_memory.h"
#include "models/row_parallel.h"

namespace hone::trainer {
namespace {

using parallel::ElementRange;

// The parts of all ranks of the shard axis, in place in `whole`.
parallel::Request start_gather(parallel::Mesh& mesh, const at::Tensor& whole,
                               const ElementRange& own) {
  const auto counts = parallel::part_sizes(whole.numel(), mesh.shard.size());
  auto* const begin = static_cast<std::byte*>(whole.mutable_data_ptr());
  return mesh.shard.start_all_gather(begin + own.begin * static_cast<int64_t>(whole.element_size()),
                                     begin, counts, models::comm_dtype(whole.scalar_type()));
}

at::Tensor place_of(const at::Tensor& whole, const ElementRange& range) {
  return whole.narrow(0, range.begin, range.size());
}

}  // namespace

models::Sharding sharding_of(const parallel::Mesh& mesh, int64_t level,
                             const parallel::Pipeline& pipeline) {
  const parallel::Layout& layout = mesh.layout;
  const parallel::RankPosition position = mesh.position();
  return {.index = position.shard * layout.cp + position.context,
          .count = layout.dp_shard * layout.cp,
          .level = level,
          .replica = position.replicate,
          .num_replicas = layout.dp_replicate,
          .slicer = {.index = position.tensor, .count = layout.tp},
          .pipeline = pipeline,
          .pipeline_rank = position.pipeline};
}

models::ComputeGroups compute_groups(const parallel::Mesh& mesh) {
  const auto group = [](const parallel::Communicator& axis) -> models::Group {
    return axis.size() == 1 ? nullptr : std::make_shared<parallel::Communicator>(axis);
  };
  return {.tensor = group(mesh.tensor),
          .context = group(mesh.context),
          .pipeline = group(mesh.pipeline)};
}

int64_t bytes_sent(int64_t bytes, int64_t size) { return bytes / size * (size - 1); }

ParameterGather::ParameterGather(models::Model& model, parallel::Mesh& mesh)
    : model_(model), mesh_(mesh), gathered_(model.stages.size()), requests_(model.stages.size()) {}

ParameterGather::~ParameterGather() {
  for (size_t stage = 0; stage < gathered_.size(); ++stage) free(static_cast<int64_t>(stage));
}

void ParameterGather::start(int64_t index) {
  const at::NoGradGuard no_grad;
  const models::Stage& stage = model_.stages[static_cast<size_t>(index)];
  auto& requests = requests_[static_cast<size_t>(index)];
  const auto gather = [&](const at::Tensor& whole, const ElementRange& range,
                          const at::Tensor& kept) {
    if (whole.numel() == 0) return;
    models::attach_memory(whole, at::empty(whole.sizes(), whole.options()));
    place_of(whole, range).copy_(kept);
    gathered_[static_cast<size_t>(index)].push_back(whole);
    requests.push_back(start_gather(mesh_, whole, range));
    bytes_ += bytes_sent(static_cast<int64_t>(whole.nbytes()), mesh_.shard.size());
  };
  gather(stage.compute, stage.kept.range, stage.kept.trainable);
  gather(stage.frozen, stage.kept.frozen_range, stage.kept.frozen);
}

void ParameterGather::wait(int64_t stage) {
  for (parallel::Request& request : requests_[static_cast<size_t>(stage)]) request.wait();
}

void ParameterGather::free(int64_t index) {
  requests_[static_cast<size_t>(index)].clear();
  for (const at::Tensor& whole : gathered_[static_cast<size_t>(index)])
    models::detach_memory(whole);
  gathered_[static_cast<size_t>(index)].clear();
}

int64_t share_parameters(models::Model& model, parallel::Mesh& mesh) {
  models::refresh_compute_weights(model);
  const bool keeps_whole = !model.sharding.shards(parallel::kShardParameters);
  if (!model.sharding.shards(parallel::kShardOptimizer) || !keeps_whole) return 0;
  int64_t bytes = 0;
  std::vector<parallel::Request> requests;
  for (const models::Stage& stage : model.stages) {
    if (stage.compute.numel() == 0) continue;
    requests.push_back(start_gather(mesh, stage.compute, stage.kept.range));
    bytes += bytes_sent(static_cast<int64_t>(stage.compute.nbytes()), mesh.shard.size());
  }
  for (parallel::Request& request : requests) request.wait();
  return bytes;
}

WholeModel::WholeModel(models::Model& model, parallel::Mesh& mesh) : gather_(model, mesh) {
  if (!model.sharding.shards(parallel::kShardParameters)) return;
  for (size_t stage = 0; stage < model.stages.size(); ++stage) {
    gather_.start(static_cast<int64_t>(stage));
    gather_.wait(static_cast<int64_t>(stage));
  }
}

}  // namespace hone::trainer
