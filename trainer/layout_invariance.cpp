#include "trainer/layout_invariance.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "parallel/schedule.h"
#include "trainer/gather.h"
#include "trainer/optimizer.h"
#include "trainer/step.h"

namespace hone::trainer {
namespace {

int64_t count_trained(const std::vector<data::MicroBatch>& micro_batches) {
  int64_t count = 0;
  for (const data::MicroBatch& micro_batch : micro_batches) count += micro_batch.num_trained_tokens;
  return count;
}

// One whole step on the ranks of `mesh`; gradients stay in KeptPart::grads.
StepResult run_on(models::Model& model, OptimizerState& optimizer, parallel::Mesh& mesh,
                  const std::vector<data::MicroBatch>& micro_batches, int64_t step,
                  const LayoutVariant& variant, const InvarianceOptions& options) {
  const auto count = static_cast<int64_t>(micro_batches.size());
  std::vector<data::MicroBatch> own;
  for (const int64_t i : parallel::micro_batches_of(mesh.layout, mesh.rank, count))
    own.push_back(micro_batches[static_cast<size_t>(i)]);
  const auto actions = parallel::make_step(describe_stages(model), mesh.layout, mesh.rank,
                                           {.num_micro_batches = count,
                                            .shard_level = model.sharding.level,
                                            .strict = variant.strict,
                                            .pipeline = model.sharding.pipeline});
  return run_step(model, optimizer, actions, own,
                  {.step = step,
                   .seed = options.seed,
                   .learning_rate = options.learning_rate,
                   .optimizer = options.optimizer,
                   .mesh = &mesh,
                   .strict = variant.strict,
                   .num_micro_batches = count,
                   .num_trained_tokens = count_trained(micro_batches)});
}

double squares(const at::Tensor& tensor) {
  return tensor.numel() == 0 ? 0.0 : tensor.to(at::kDouble).square().sum().item<double>();
}

// Of a whole parameter, or its gradient, the elements that another rank keeps of it.
at::Tensor part_of_whole(const models::Stage& whole_stage, const models::Parameter& whole,
                         const models::Parameter& parameter, const ParameterPart& part,
                         at::Tensor models::Stage::*flat) {
  const parallel::TensorSlice& slice = parameter.slice;
  return view_of_parameter(whole_stage, whole, whole_stage.*flat)
      .narrow(slice.dim, slice.range.begin, slice.range.size())
      .reshape({-1})
      .narrow(0, part.begin, part.size);
}

// The weights of one rank for what this rank keeps and computes with. Collective.
void take_weights(const models::Model& one, models::Model& sharded, parallel::Mesh& mesh) {
  for (size_t s = 0; s < sharded.stages.size(); ++s) {
    models::Stage& stage = sharded.stages[s];
    for (size_t p = 0; p < stage.parameters.size(); ++p) {
      const models::Parameter& parameter = stage.parameters[p];
      if (!parameter.grad.defined()) continue;
      const ParameterPart part = kept_part_of(stage, parameter);
      if (part.size == 0) continue;
      stage.kept.trainable.narrow(0, part.offset, part.size)
          .copy_(part_of_whole(one.stages[s], one.stages[s].parameters[p], parameter, part,
                               &models::Stage::trainable));
    }
  }
  share_parameters(sharded, mesh);
}

// Sums of squares for every trainable tensor, of the difference and of the reference, over the
// parts that all ranks keep.
std::vector<double> squares_over_ranks(const models::Model& one, const models::Model& sharded,
                                       parallel::Mesh& mesh) {
  std::vector<double> sums;
  const bool counts = parallel::rank_position(mesh.layout, mesh.rank).replicate == 0;
  for (size_t s = 0; s < sharded.stages.size(); ++s) {
    const models::Stage& stage = sharded.stages[s];
    for (size_t p = 0; p < stage.parameters.size(); ++p) {
      const models::Parameter& parameter = stage.parameters[p];
      if (!parameter.grad.defined()) continue;
      const ParameterPart part = kept_part_of(stage, parameter);
      const at::Tensor mine = stage.kept.grads.narrow(0, part.offset, part.size);
      const at::Tensor reference = part_of_whole(one.stages[s], one.stages[s].parameters[p],
                                                 parameter, part, &models::Stage::grads);
      const at::Tensor apart = mine.to(at::kDouble) - reference.to(at::kDouble);
      sums.push_back(counts ? squares(apart) : 0);
      sums.push_back(counts ? squares(reference) : 0);
    }
  }
  mesh.host.all_reduce_ordered(sums.data(), sums.data(), static_cast<int64_t>(sums.size()),
                               parallel::DType::kFloat64);
  return sums;
}

void take_gradients(const models::Model& one, const models::Model& sharded, parallel::Mesh& mesh,
                    VariantDifference& difference) {
  const std::vector<double> sums = squares_over_ranks(one, sharded, mesh);
  double all = 0;
  for (size_t i = 1; i < sums.size(); i += 2) all += sums[i];
  const double floor = std::max(std::sqrt(all) / 1000, 1e-30);
  size_t i = 0;
  for (const models::Stage& stage : sharded.stages) {
    for (const models::Parameter& parameter : stage.parameters) {
      if (!parameter.grad.defined()) continue;
      difference.take_gradient(std::sqrt(sums[i]) / std::max(std::sqrt(sums[i + 1]), floor),
                               parameter.name);
      i += 2;
    }
  }
}

double mean_loss(const StepResult& result) {
  return result.loss_sum / static_cast<double>(std::max<int64_t>(1, result.num_trained_tokens));
}

}  // namespace

VariantDifference compare_layout(models::Model& one, models::Model& sharded, parallel::Mesh& mesh,
                                 const std::vector<std::vector<data::MicroBatch>>& steps,
                                 const LayoutVariant& variant, const InvarianceOptions& options) {
  const at::NoGradGuard no_grad;
  parallel::Mesh alone = parallel::solo_mesh();
  OptimizerState one_optimizer = make_optimizer_state(one);
  OptimizerState optimizer = make_optimizer_state(sharded);
  share_parameters(sharded, mesh);
  VariantDifference difference{.name = variant.name,
                               .against = "one rank",
                               .loss_bound = variant.loss_bound,
                               .bound = variant.bound};
  for (size_t step = 0; step < steps.size(); ++step) {
    const auto number = static_cast<int64_t>(step);
    if (variant.same_start && step > 0) take_weights(one, sharded, mesh);
    const double expected =
        mean_loss(run_on(one, one_optimizer, alone, steps[step], number, variant, options));
    const double got =
        mean_loss(run_on(sharded, optimizer, mesh, steps[step], number, variant, options));
    difference.take_loss(std::abs(got - expected) / std::max(std::abs(expected), 1e-30));
    take_gradients(one, sharded, mesh, difference);
  }
  return difference;
}

}  // namespace hone::trainer
