// The part of a tensor that a rank of the tensor axis has: one range of one dim.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/shards.h"

namespace hone::parallel {

// Where a rank stands among those that share the computing of every layer.
struct Slicer {
  int64_t index = 0, count = 1;
  bool operator==(const Slicer&) const = default;
};

struct TensorSlice {
  int64_t dim = -1;    // -1: the whole tensor, which every rank of the axis has
  ElementRange range;  // of the dim
  // Ranks that have this same slice: each adds to its gradient, the first writes it.
  int64_t first_holder = 0, num_holders = 1;
  bool operator==(const TensorSlice&) const = default;
};

std::vector<int64_t> slice_shape(const std::vector<int64_t>& shape, const TensorSlice& slice);
int64_t slice_numel(const std::vector<int64_t>& shape, const TensorSlice& slice);

// Neighbouring elements of a slice that are neighbours in the whole tensor too.
struct SliceRun {
  int64_t whole_begin = 0;  // in the tensor, row-major
  int64_t slice_begin = 0;  // in the slice, row-major
  int64_t count = 0;
  bool operator==(const SliceRun&) const = default;
};

// Elements `part` of the slice of a tensor of `shape` as runs, in order.
std::vector<SliceRun> slice_runs(const std::vector<int64_t>& shape, const TensorSlice& slice,
                                 const ElementRange& part);

}  // namespace hone::parallel
