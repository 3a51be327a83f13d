// Numbers of a step that single ranks know and all of them need.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/micro_batch.h"
#include "models/model.h"
#include "parallel/comm/mesh.h"
#include "trainer/source_loss.h"

namespace hone::trainer {

// Whether this rank, among those that compute the same micro-batches, is the one that tells what
// came of them: the one with the head, the first of the tensor and context axes.
bool tells_numbers(const models::Model& model, const parallel::Mesh& mesh);

// What each micro-batch of a step (or of an evaluation) gave. Every rank enters its own; after
// `exchange` all have all, so sums over micro-batches in their order have the same bits on every
// rank and for any number of ranks.
class MicroBatchNumbers {
 public:
  MicroBatchNumbers(int64_t num_micro_batches, int64_t num_sources);

  // `losses` are those of the micro-batch's trained tokens, in order.
  void enter(int64_t index, const data::MicroBatch& micro_batch, double loss_sum,
             std::span<const double> losses);
  // Collective over the mesh. `more` is summed over the ranks on the way.
  void exchange(parallel::Mesh& mesh, std::span<double> more = {});

  double loss_sum() const;
  int64_t num_tokens() const;
  int64_t num_trained_tokens() const;
  SourceLosses by_source() const;    // empty for one source
  int64_t first_not_finite() const;  // the micro-batch; -1 if all are
  double loss_of(int64_t index) const { return at(index, 0); }

 private:
  double& at(int64_t index, int64_t slot);
  double at(int64_t index, int64_t slot) const;
  double sum_of(int64_t slot) const;

  const int64_t num_micro_batches_, num_sources_;
  const int64_t width_;  // slots of a micro-batch: loss, tokens, trained tokens, two a source
  std::vector<double> slots_;
};

}  // namespace hone::trainer
