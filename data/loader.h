// The order of training: micro-batch i of step s is a pure function of (seed, s, i), whatever ran
// before.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/dataset.h"
#include "data/micro_batch.h"

namespace hone::data {

struct LoaderOptions {
  bool packing = false;
  int64_t max_length = 1024;
  int64_t micro_batch_size = 1;             // packs (or rows) a micro-batch
  int64_t gradient_accumulation_steps = 1;  // micro-batches a step, over all data-parallel ranks
  bool shuffle = true;
  uint64_t seed = 42;
  std::vector<double> weights;  // of the cache's sources, all positive; empty: no mixing by weight
};

// Which rows an epoch draws, and in which order, is data/epoch_rows.h's. Nothing here grows with
// the rows: 8 bytes a window of packing are kept.
//
// Position p (a global count of packs, or of rows without packing) is epoch p /
// packs_per_epoch(epoch) ... A step takes micro_batch_size * gradient_accumulation_steps positions;
// the last step of an epoch may take fewer, none is dropped. Packing works on fixed windows of the
// epoch's row order: inside a window rows go, longest first, to the pack with the least room that
// still holds them. Rows whose labels are all masked are left out.
class Loader {
 public:
  Loader(TokenCache cache, LoaderOptions options);
  int64_t num_steps_per_epoch(int64_t epoch) const;
  // Number of micro-batches of this step (fewer than gradient_accumulation_steps only in an epoch's
  // last step).
  int64_t num_micro_batches(int64_t step) const;
  MicroBatch micro_batch(int64_t step, int64_t index) const;
  // Over all micro-batches of the step: the divisor of the loss.
  int64_t num_trained_tokens(int64_t step) const;
  double epoch_of_step(int64_t step) const;  // 1.25 = a quarter into the second epoch
  // Packs of an epoch (rows without packing): what a step counts.
  int64_t num_positions(int64_t epoch) const;
  int64_t num_sources() const;
  // Rows drawn from a source in an epoch, and how many it has to draw from.
  int64_t num_draws(int64_t source) const;
  int64_t num_source_rows(int64_t source) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hone::data
