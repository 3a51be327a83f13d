#include "parallel/tensor_slice.h"

#include <algorithm>

#include "core/error.h"

namespace hone::parallel {
namespace {

int64_t product(const std::vector<int64_t>& shape, size_t begin, size_t end) {
  int64_t count = 1;
  for (size_t i = begin; i < end; ++i) count *= shape[i];
  return count;
}

}  // namespace

TensorSlice whole_slice(const std::vector<int64_t>& shape, const Slicer& slicer) {
  const int64_t size = shape.front();
  return {.dim = 0,
          .range = {0, size},
          .owned = {slicer.index == 0 ? 0 : size, size},
          .is_shared = slicer.count > 1};
}

std::vector<int64_t> slice_shape(const std::vector<int64_t>& shape, const TensorSlice& slice) {
  std::vector<int64_t> sliced = shape;
  sliced[static_cast<size_t>(slice.dim)] = slice.range.size();
  return sliced;
}

int64_t slice_numel(const std::vector<int64_t>& shape, const TensorSlice& slice) {
  const auto sliced = slice_shape(shape, slice);
  return product(sliced, 0, sliced.size());
}

std::vector<SliceRun> slice_runs(const std::vector<int64_t>& shape, const TensorSlice& slice,
                                 const ElementRange& part) {
  if (part.size() == 0) return {};
  if (slice.dim == 0) {
    const int64_t row = product(shape, 1, shape.size());
    return {{slice.range.begin * row + part.begin, part.begin, part.size()}};
  }
  const auto dim = static_cast<size_t>(slice.dim);
  const int64_t inner = product(shape, dim + 1, shape.size());
  const int64_t whole_row = shape[dim] * inner, row = slice.range.size() * inner;
  std::vector<SliceRun> runs;
  for (int64_t begin = part.begin; begin < part.end;) {
    const int64_t outer = begin / row, column = begin % row;
    const int64_t count = std::min(row - column, part.end - begin);
    runs.push_back({outer * whole_row + slice.range.begin * inner + column, begin, count});
    begin += count;
  }
  return runs;
}

ElementRange owned_elements(const std::vector<int64_t>& shape, const TensorSlice& slice) {
  if (slice.owned.size() == 0) return {};
  if (slice.owned == slice.range) return {0, slice_numel(shape, slice)};
  if (slice.dim != 0) {
    core::fail(core::ErrorKind::kInternal, {.what = "a slice owned in part",
                                            .got = "dim " + std::to_string(slice.dim),
                                            .expected = "dim 0"});
  }
  const int64_t row = product(shape, 1, shape.size());
  return {(slice.owned.begin - slice.range.begin) * row,
          (slice.owned.end - slice.range.begin) * row};
}

std::vector<SliceRun> owned_runs(const std::vector<int64_t>& shape, const TensorSlice& slice,
                                 const ElementRange& part) {
  return slice_runs(shape, slice, intersect(part, owned_elements(shape, slice)));
}

}  // namespace hone::parallel
