// Which part of every tensor, and which heads, a rank of the tensor axis has (arXiv:1909.08053),
// and what of a model can't be divided over a layout.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/spec/model_spec.h"
#include "parallel/layout.h"
#include "parallel/tensor_slice.h"

namespace hone::models {

// `key` is PlannedParameter::key (models/spec/parameter_plan.h), `shape` of the whole tensor. q, k,
// v, gate and up projections and the head are cut by their outputs, o and down projections by their
// inputs, the embedding by its vocabulary; norms are whole everywhere. Throws kBadRecipe for a
// module that it does not know, kInternal where the heads do not divide (shard_plan_problems).
parallel::TensorSlice slice_of(const ModelSpec& spec, const std::string& key,
                               const std::vector<int64_t>& shape, const parallel::Slicer& slicer);

// The heads of one rank of the tensor axis. KV head i of the rank is first_kv_head + i of the
// model; neighbours may have some or all of theirs in common.
struct LocalHeads {
  int64_t num_heads = 0, num_kv_heads = 0;
  int64_t first_head = 0, first_kv_head = 0;  // in the model
  // Query heads in groups of `group` neighbours; those of group g use KV head kv_of_group[g] of
  // this rank.
  int64_t group = 1;
  std::vector<int64_t> kv_of_group;
};

// `cp` ranks of the context axis have num_heads / cp neighbouring query heads each while attention
// is computed; no group reaches over two of them. Throws kInternal where the heads do not divide.
LocalHeads local_heads(const ModelSpec& spec, const parallel::Slicer& slicer, int64_t cp);

// One thing of a model that a layout can't divide.
struct ShardPlanProblem {
  std::string size;      // of the layout, by its name in a recipe: "tensor_parallel_size"
  std::string equation;  // "num_attention_heads 9 / tensor_parallel_size 2 leaves 1: ..."
  bool operator==(const ShardPlanProblem&) const = default;
};

// Everything of the model that can't be divided over tp, cp and pp. `chunks_per_rank`: of the
// pipeline axis.
std::vector<ShardPlanProblem> shard_plan_problems(const ModelSpec& spec,
                                                  const parallel::Layout& layout,
                                                  int64_t chunks_per_rank);

// Floating-point operations of a micro-batch of one document of `tokens`, forward and backward, of
// every stage: what a pipeline is cut by (parallel/pipeline.h).
std::vector<double> stage_costs(const ModelSpec& spec, int64_t tokens);

}  // namespace hone::models
