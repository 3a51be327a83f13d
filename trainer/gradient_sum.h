// The gradient of a step over all micro-batches and ranks, where the parts of it are kept. What
// ranks of the tensor axis have in common is added up over that axis first.
#pragma once

#include <cstdint>
#include <vector>

#include "models/model.h"
#include "parallel/comm/mesh.h"

namespace hone::trainer {

// One step's. Not strict: a rank's micro-batches add up in Stage::grads, which is reduced once
// (levels 0 and 1), or every round's sum over ranks is added to KeptPart::grads (levels 2 and 3).
// Strict: every round is reduced and rounds are added up as a binary tree, so that the sum has the
// same bits on 1, 2, 4, ... ranks (parallel/schedule.h); takes log2(rounds) more buffers.
class GradientSum {
 public:
  // Sets all gradients to zero.
  GradientSum(models::Model& model, parallel::Mesh& mesh, bool strict);
  ~GradientSum();  // takes back memory that was lent
  GradientSum(const GradientSum&) = delete;
  GradientSum& operator=(const GradientSum&) = delete;

  // Before a backward adds to the stage's gradients: lends them memory where they have none.
  void prepare(int64_t stage);
  // Collective: what the ranks have of a round. A rank without a micro-batch in it has zeros.
  void reduce_round(int64_t stage);
  // Collective: KeptPart::grads is complete afterwards. With `later` it is after `wait`. Of a tied
  // embedding that both ends of a pipeline hold: collective over them too.
  void complete(int64_t stage, bool later);
  void wait();  // for all that was completed later
  void poll() { mesh_.shard.poll(); }
  int64_t bytes() const { return bytes_; }  // sent by this rank so far

 private:
  struct Partial {
    int64_t num_levels = 0;  // of the tree below it
    at::Tensor sum;
  };
  bool is_sharded() const { return mesh_.shard.size() > 1; }
  void add_up_shared(models::Stage& stage);
  void add_up_ends(models::Stage& stage);
  void complete_over_data(int64_t stage, bool later);
  void reduce_once(models::Stage& stage, bool later);
  void add_round(std::vector<Partial>& tree, at::Tensor sum);
  at::Tensor reduced_round(models::Stage& stage);
  void all_reduce_kept(const at::Tensor& part, bool later);

  models::Model& model_;
  parallel::Mesh& mesh_;
  const bool strict_, lends_memory_;
  std::vector<std::vector<Partial>> trees_;  // by stage, strict only
  std::vector<parallel::Request> requests_;
  int64_t bytes_ = 0;
};

}  // namespace hone::trainer
