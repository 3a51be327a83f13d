// Which row stands where in an epoch, as a function without state: no list of rows is ever made.
#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace hone::data {

// Without weights an epoch is every row once, in a permutation of its own.
//
// With weights (one a source, or none) an epoch has as many draws as there are rows, and source s
// gets the share weights[s] / sum of them, rounded by largest remainders. Its draws go on from
// epoch to epoch through one endless list: all its rows in a random order, then all again in
// another, so a source with too few rows for its share is repeated evenly, and one with too many is
// spread over several epochs. This is how Megatron-LM and NeMo blend data sets (weights normalised
// to shares of the samples), with rows drawn without replacement.
class EpochRows {
 public:
  // `rows[s]` is the number of rows source s has.
  EpochRows(std::vector<int64_t> rows, const std::vector<double>& weights, bool shuffle,
            uint64_t seed);
  int64_t size() const { return begins_.back(); }  // draws of an epoch
  // Row `index` of an epoch, counted over all sources' rows.
  int64_t row_at(int64_t epoch, int64_t index) const;
  int64_t num_draws(int64_t source) const;  // of an epoch
  int64_t num_rows(int64_t source) const { return rows_[static_cast<size_t>(source)]; }

 private:
  int64_t drawn_row(int64_t source, int64_t draw) const;

  std::vector<int64_t> rows_, first_rows_, begins_ = {0};
  bool weighted_, shuffle_;
  uint64_t seed_;
};

}  // namespace hone::data
