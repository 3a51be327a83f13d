// A verb on every rank of a run: how it begins, how all agree, how it ends.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "core/json.h"
#include "parallel/comm/agree.h"
#include "parallel/comm/mesh.h"
#include "recipes/recipe.h"

namespace hone::recipes {

// Runs `work` with the ranks that mpirun or srun started, or alone, and returns its exit code. An
// error that all ranks agreed on is thrown on rank 0, to be printed once; the other ranks return
// its code. Any other error ends the run of all under mpirun. Throws as require_rendezvous
// (launch/rank_environment.h) before anything else.
int on_ranks(const std::function<int(parallel::Communicator& world)>& work);

// Throws kBadRecipe for a backend ("auto", "mpi" or "nccl") that is not there or can't reach the
// device's memory. Not collective.
void check_backend(const std::string& backend, at::Device device, int num_ranks);

// All of these: collective over `world`, and an error of one rank is thrown by all.

// `work` on rank 0, then on the others: what the first has fetched the others find. They work after
// an error too, so that one of all ranks is told from one of rank 0.
void first_then_others(parallel::Communicator& world, const std::function<void()>& work);

// Throws kCannotCreate where a rank does not see what rank 0 makes in `folder`, which is there.
void require_shared(parallel::Communicator& world, const std::filesystem::path& folder);

// Throws kBadRecipe with a line for every key whose value is not the same on all ranks, naming key,
// ranks and values. `what` begins the message.
void require_same(parallel::Communicator& world, const core::Json& mine, const std::string& what);

// The communicators of a sound layout for tensors of `device`. Throws as check_backend.
parallel::Mesh make_rank_mesh(parallel::Communicator& world, const parallel::Layout& layout,
                              const std::string& backend, at::Device device,
                              const std::shared_ptr<parallel::FlightRecord>& record = nullptr);
// Those of the recipe's, whose calls are entered into `record`.
parallel::Mesh make_training_mesh(parallel::Communicator& world, const Recipe& recipe,
                                  at::Device device,
                                  const std::shared_ptr<parallel::FlightRecord>& record = nullptr);

}  // namespace hone::recipes
