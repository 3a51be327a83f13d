#include "parallel/tensor_slice.h"

#include <algorithm>

namespace hone::parallel {
namespace {

int64_t product(const std::vector<int64_t>& shape, size_t begin, size_t end) {
  int64_t count = 1;
  for (size_t i = begin; i < end; ++i) count *= shape[i];
  return count;
}

}  // namespace

std::vector<int64_t> slice_shape(const std::vector<int64_t>& shape, const TensorSlice& slice) {
  std::vector<int64_t> sliced = shape;
  if (slice.dim >= 0) sliced[static_cast<size_t>(slice.dim)] = slice.range.size();
  return sliced;
}

int64_t slice_numel(const std::vector<int64_t>& shape, const TensorSlice& slice) {
  const auto sliced = slice_shape(shape, slice);
  return product(sliced, 0, sliced.size());
}

std::vector<SliceRun> slice_runs(const std::vector<int64_t>& shape, const TensorSlice& slice,
                                 const ElementRange& part) {
  if (part.size() == 0) return {};
  if (slice.dim <= 0) {
    const int64_t row = slice.dim < 0 ? 0 : product(shape, 1, shape.size());
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

}  // namespace hone::parallel
