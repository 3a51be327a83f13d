#include "trainer/gradient_sum.h"

#include <ATen/core/grad_mode.h>

#include "models/flat_memory.h"
#include "trainer/gather.h"

namespace hone::trainer {
namespace {

using parallel::DType;

int64_t num_bytes(const at::Tensor& tensor) { return static_cast<int64_t>(tensor.nbytes()); }

}  // namespace

GradientSum::GradientSum(models::Model& model, parallel::Mesh& mesh, bool strict)
    : model_(model),
      mesh_(mesh),
      strict_(strict),
      lends_memory_(model.sharding.shards(parallel::kShardGradients)),
      trees_(model.stages.size()) {
  for (models::Stage& stage : model_.stages) {
    if (!stage.grads.defined()) continue;
    (lends_memory_ ? stage.kept.grads : stage.grads).zero_();
  }
}

GradientSum::~GradientSum() {
  if (!lends_memory_) return;
  for (const models::Stage& stage : model_.stages) {
    if (stage.grads.numel() > 0) models::detach_memory(stage.grads);
  }
}

void GradientSum::prepare(int64_t index) {
  const models::Stage& stage = model_.stages[static_cast<size_t>(index)];
  if (models::has_memory(stage.grads)) return;
  models::attach_memory(stage.grads, at::zeros(stage.grads.sizes(), stage.grads.options()));
}

// Each rank of the tensor axis has its own terms of these gradients. Places are those of the whole
// tensors: what two ranks have in common may be a part of either's slice.
void GradientSum::add_up_shared(models::Stage& stage) {
  if (mesh_.tensor.size() == 1) return;
  std::vector<const models::Parameter*> shared;
  int64_t count = 0;
  for (const models::Parameter& parameter : stage.parameters) {
    if (!parameter.grad.defined() || !parameter.slice.is_shared) continue;
    if (parameter.grad.numel() == 0) continue;
    shared.push_back(&parameter);
    count += c10::multiply_integers(parameter.shape);
  }
  if (count == 0) return;
  const at::Tensor sum = at::zeros({count}, stage.grads.options());
  const auto for_each_place = [&](const auto& visit) {
    int64_t begin = 0;
    for (const models::Parameter* parameter : shared) {
      const int64_t size = c10::multiply_integers(parameter->shape);
      const parallel::TensorSlice& slice = parameter->slice;
      visit(parameter->grad, sum.narrow(0, begin, size)
                                 .view(parameter->shape)
                                 .narrow(slice.dim, slice.range.begin, slice.range.size()));
      begin += size;
    }
  };
  for_each_place([](const at::Tensor& grad, const at::Tensor& place) { place.copy_(grad); });
  mesh_.tensor.all_reduce(sum.const_data_ptr(), sum.mutable_data_ptr(), count, DType::kFloat32);
  bytes_ += 2 * bytes_sent(num_bytes(sum), mesh_.tensor.size());
  for_each_place([](const at::Tensor& grad, const at::Tensor& place) { grad.copy_(place); });
}

// The embedding's own gradient is on the first rank of a pipeline, the head's on the last.
void GradientSum::add_up_ends(models::Stage& stage) {
  const at::Tensor& part = stage.kept.grads;
  bytes_ += 2 * bytes_sent(num_bytes(part), mesh_.ends.size());
  mesh_.ends.all_reduce(part.const_data_ptr(), part.mutable_data_ptr(), part.numel(),
                        DType::kFloat32);
}

// This round's sum over all ranks (strict) or over the shard axis, of the part that is kept. The
// stage's gradients start afresh.
at::Tensor GradientSum::reduced_round(models::Stage& stage) {
  add_up_shared(stage);
  at::Tensor sum = at::empty({stage.kept.range.size()}, stage.grads.options());
  const auto counts = parallel::part_sizes(stage.grads.numel(), mesh_.shard.size());
  const void* const whole = stage.grads.const_data_ptr();
  if (strict_) {
    mesh_.shard.reduce_scatter_ordered(whole, sum.mutable_data_ptr(), counts, DType::kFloat32);
    mesh_.replicate.all_reduce_ordered(sum.const_data_ptr(), sum.mutable_data_ptr(), sum.numel(),
                                       DType::kFloat32);
    bytes_ += 2 * bytes_sent(num_bytes(sum), mesh_.replicate.size());
  } else {
    mesh_.shard.reduce_scatter(whole, sum.mutable_data_ptr(), counts, DType::kFloat32);
  }
  bytes_ += bytes_sent(num_bytes(stage.grads), mesh_.shard.size());
  if (lends_memory_) {
    models::detach_memory(stage.grads);
  } else {
    stage.grads.zero_();
  }
  return sum;
}

// As a binary counter: sums of equally many rounds are added, so for any number of rounds the tree
// is that of parallel/comm/combine.h.
void GradientSum::add_round(std::vector<Partial>& tree, at::Tensor sum) {
  int64_t num_levels = 0;
  while (!tree.empty() && tree.back().num_levels == num_levels) {
    sum = tree.back().sum.add_(sum);
    tree.pop_back();
    ++num_levels;
  }
  tree.push_back({num_levels, std::move(sum)});
}

void GradientSum::reduce_round(int64_t index) {
  const at::NoGradGuard no_grad;
  prepare(index);
  models::Stage& stage = model_.stages[static_cast<size_t>(index)];
  at::Tensor sum = reduced_round(stage);
  if (strict_) {
    add_round(trees_[static_cast<size_t>(index)], std::move(sum));
  } else {
    stage.kept.grads.add_(sum);
  }
}

void GradientSum::all_reduce_kept(const at::Tensor& part, bool later) {
  bytes_ += 2 * bytes_sent(num_bytes(part), mesh_.replicate.size());
  if (later) {
    requests_.push_back(mesh_.replicate.start_all_reduce(
        part.const_data_ptr(), part.mutable_data_ptr(), part.numel(), DType::kFloat32));
  } else {
    mesh_.replicate.all_reduce(part.const_data_ptr(), part.mutable_data_ptr(), part.numel(),
                               DType::kFloat32);
  }
}

// Whole gradients of levels 0 and 1, in place.
void GradientSum::reduce_once(models::Stage& stage, bool later) {
  add_up_shared(stage);
  if (is_sharded()) {
    const auto counts = parallel::part_sizes(stage.grads.numel(), mesh_.shard.size());
    bytes_ += bytes_sent(num_bytes(stage.grads), mesh_.shard.size());
    parallel::Request request = mesh_.shard.start_reduce_scatter(
        stage.grads.const_data_ptr(), stage.kept.grads.mutable_data_ptr(), counts, DType::kFloat32);
    if (later && mesh_.replicate.size() == 1) {
      requests_.push_back(std::move(request));
      return;
    }
    request.wait();
  }
  all_reduce_kept(stage.kept.grads, later);
}

void GradientSum::complete(int64_t index, bool later) {
  const at::NoGradGuard no_grad;
  const bool at_both_ends = mesh_.ends.size() > 1 && model_.stages.back().shares_with == index;
  complete_over_data(index, later && !at_both_ends);
  if (at_both_ends) add_up_ends(model_.stages[static_cast<size_t>(index)]);
}

void GradientSum::complete_over_data(int64_t index, bool later) {
  models::Stage& stage = model_.stages[static_cast<size_t>(index)];
  if (!strict_) {
    if (lends_memory_) {
      all_reduce_kept(stage.kept.grads, later);
    } else {
      reduce_once(stage, later);
    }
    return;
  }
  std::vector<Partial>& tree = trees_[static_cast<size_t>(index)];
  at::Tensor sum = std::move(tree.back().sum);
  tree.pop_back();
  for (; !tree.empty(); tree.pop_back()) sum = tree.back().sum.add_(sum);
  // Which zeros are negative depends on the ranks that had none: + 0 makes all of them positive.
  stage.kept.grads.copy_(sum.add_(0.0));
}

void GradientSum::wait() {
  for (parallel::Request& request : requests_) request.wait();
  requests_.clear();
}

}  // namespace hone::trainer
