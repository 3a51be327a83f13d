// Parameters that other ranks keep, put together for as long as they are computed with.
#pragma once

#include <cstdint>
#include <vector>

#include "models/model.h"
#include "parallel/comm/mesh.h"

namespace hone::trainer {

// What a rank of the mesh has of a model; all stages where no pipeline is given.
models::Sharding sharding_of(const parallel::Mesh& mesh, int64_t level,
                             const parallel::Pipeline& pipeline = {});
models::ComputeGroups compute_groups(const parallel::Mesh& mesh);

// Bytes that a rank sends in a collective over `size` ranks on a buffer of `bytes`: what a ring
// would (all_reduce twice that).
int64_t bytes_sent(int64_t bytes, int64_t size);

// Of a model sharded at level 3. All calls but `wait` are collective over the mesh's shard axis:
// every rank makes the same ones in the same order.
class ParameterGather {
 public:
  ParameterGather(models::Model& model, parallel::Mesh& mesh);
  ~ParameterGather();  // frees what is gathered
  ParameterGather(const ParameterGather&) = delete;
  ParameterGather& operator=(const ParameterGather&) = delete;

  void start(int64_t stage);  // gives the stage memory and begins to fill it
  void wait(int64_t stage);   // until the stage may be computed with; nothing to do if it is whole
  void free(int64_t stage);
  void poll() { mesh_.shard.poll(); }
  int64_t bytes() const { return bytes_; }  // sent by this rank so far

 private:
  models::Model& model_;
  parallel::Mesh& mesh_;
  std::vector<std::vector<at::Tensor>> gathered_;         // by stage: the flat buffers
  std::vector<std::vector<parallel::Request>> requests_;  // by stage
  int64_t bytes_ = 0;
};

// Collective. Brings what every rank computes with up to date with the masters that the ranks keep:
// compute copies, and the other ranks' parts where the whole is kept (levels 1 and 2). Returns the
// bytes sent.
int64_t share_parameters(models::Model& model, parallel::Mesh& mesh);

// All parameters of a model sharded at level 3 for the life of this object, or nothing to do:
// collective at the beginning. For what needs the whole model on one rank.
class WholeModel {
 public:
  WholeModel(models::Model& model, parallel::Mesh& mesh);

 private:
  ParameterGather gather_;
};

}  // namespace hone::trainer
