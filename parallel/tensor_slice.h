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
  int64_t dim =
      0;  // which is cut; a tensor that every rank has whole is its dim 0 from begin to end
  ElementRange range;  // of the dim that this rank has
  // Of these, what no earlier rank of the axis has: written to files and counted by this rank. May
  // be empty; of a dim other than the first it is all or nothing.
  ElementRange owned;
  bool is_shared =
      false;  // with another rank, in whole or in part: gradients are summed over the axis
  bool operator==(const TensorSlice&) const = default;
};

// All of a tensor of `shape` (one dim at least), as every rank of the axis has it; the first owns
// it.
TensorSlice whole_slice(const std::vector<int64_t>& shape, const Slicer& slicer);

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

// Elements of the slice, row-major, that this rank owns.
ElementRange owned_elements(const std::vector<int64_t>& shape, const TensorSlice& slice);

// The runs of what is owned of `part`.
std::vector<SliceRun> owned_runs(const std::vector<int64_t>& shape, const TensorSlice& slice,
                                 const ElementRange& part);

}  // namespace hone::parallel
