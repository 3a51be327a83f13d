// A verb that runs a model on the ranks that mpirun started: how they were asked for, and what each
// has of the model.
#pragma once

#include <CLI/CLI.hpp>

#include "parallel/comm/mesh.h"
#include "recipes/train/model_choice.h"

namespace hone::recipes {

// --tensor-parallel-size and --pipeline-parallel-size into `sizes`.
void add_rank_options(CLI::App& verb, parallel::Layout& sizes);
// --context-parallel-size besides.
void add_context_option(CLI::App& verb, parallel::Layout& sizes);

// Throws kUsage with the equation where the sizes do not multiply to the number of ranks.
parallel::Layout exact_layout(const parallel::Layout& sizes, int64_t num_ranks);
// The ranks that the sizes leave over are data parallel. Throws kUsage with the equation where the
// sizes do not divide the number of ranks.
parallel::Layout filled_layout(const parallel::Layout& sizes, int64_t num_ranks);

// All of these: collective over `world`, and an error of one rank is thrown by all.

// As find_model: rank 0 fetches what is nowhere near, the others find it. Throws kBadRecipe with
// all equations where the model can't be divided over the layout, and where ranks were started with
// other options (`options` is what all of them must agree on) or have other models.
ModelFolders find_model_together(const ModelArguments& arguments, const parallel::Layout& layout,
                                 const core::Json& options, parallel::Communicator& world);

struct ModelOnRanks {
  parallel::Mesh mesh;
  models::Model model;
};

// The model as load_for_inference has it, of which this rank has its part. Its pipeline is cut for
// micro-batches of `tokens`. Over the context axis parameters are sharded as in training: what
// computes with them gathers them (trainer/evaluate.h).
ModelOnRanks load_on_ranks(const ModelFolders& folders, const ModelArguments& arguments,
                           const parallel::Layout& layout, int64_t tokens,
                           parallel::Communicator& world);

}  // namespace hone::recipes
