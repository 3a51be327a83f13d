#include "parallel/tensor_slice.h"

#include <gtest/gtest.h>

#include <vector>

namespace hone::parallel {
namespace {

// For every element of the slice, row-major, its place in the whole tensor.
std::vector<int64_t> places_in_whole(const std::vector<int64_t>& shape, const TensorSlice& slice) {
  int64_t numel = 1;
  for (const int64_t size : shape) numel *= size;
  std::vector<int64_t> places;
  for (int64_t place = 0; place < numel; ++place) {
    int64_t below = 1;
    for (size_t dim = shape.size(); dim-- > static_cast<size_t>(slice.dim) + 1;)
      below *= shape[dim];
    const int64_t index = place / below % shape[static_cast<size_t>(slice.dim)];
    if (index >= slice.range.begin && index < slice.range.end) places.push_back(place);
  }
  return places;
}

TEST(TensorSlice, RunsNameEveryElementOfAPartWithItsPlaceInTheWhole) {
  const std::vector<std::vector<int64_t>> shapes{{6}, {4, 5}, {3, 4, 2}, {2, 3, 4}};
  for (const auto& shape : shapes) {
    for (size_t dim = 0; dim < shape.size(); ++dim) {
      for (int64_t first = 0; first < shape[dim]; ++first) {
        for (int64_t end = first + 1; end <= shape[dim]; ++end) {
          TensorSlice slice;
          slice.dim = static_cast<int64_t>(dim);
          slice.range = {first, end};
          const std::vector<int64_t> expected = places_in_whole(shape, slice);
          const auto numel = static_cast<int64_t>(expected.size());
          ASSERT_EQ(slice_numel(shape, slice), numel);
          for (int64_t begin = 0; begin <= numel; ++begin) {
            for (int64_t stop = begin; stop <= numel; ++stop) {
              std::vector<int64_t> got;
              int64_t next = begin;
              for (const SliceRun& run : slice_runs(shape, slice, {begin, stop})) {
                EXPECT_EQ(run.slice_begin, next);
                EXPECT_GT(run.count, 0);
                for (int64_t i = 0; i < run.count; ++i) got.push_back(run.whole_begin + i);
                next += run.count;
              }
              const std::vector<int64_t> part(expected.begin() + begin, expected.begin() + stop);
              ASSERT_EQ(got, part) << "dim " << dim << ", " << first << " to " << end;
            }
          }
        }
      }
    }
  }
}

TEST(TensorSlice, NeighboursInTheWholeAreOneRun) {
  TensorSlice rows;
  rows.dim = 0;
  rows.range = {2, 4};
  EXPECT_EQ(slice_runs({5, 3}, rows, {0, 6}), (std::vector<SliceRun>{{6, 0, 6}}));
  TensorSlice columns;
  columns.dim = 1;
  columns.range = {1, 3};
  EXPECT_EQ(slice_runs({3, 4}, columns, {1, 5}),
            (std::vector<SliceRun>{{2, 1, 1}, {5, 2, 2}, {9, 4, 1}}));
}

TEST(TensorSlice, AWholeTensorIsOneRunOfItselfAndTheFirstRankOwnsIt) {
  for (const int64_t rank : {0, 1}) {
    const TensorSlice whole = whole_slice({3, 4}, {.index = rank, .count = 2});
    EXPECT_EQ(slice_runs({3, 4}, whole, {2, 7}), (std::vector<SliceRun>{{2, 2, 5}}));
    EXPECT_EQ(slice_shape({3, 4}, whole), (std::vector<int64_t>{3, 4}));
    EXPECT_EQ(slice_numel({3, 4}, whole), 12);
    EXPECT_TRUE(whole.is_shared);
    EXPECT_EQ(owned_elements({3, 4}, whole).size(), rank == 0 ? 12 : 0);
  }
}

TEST(TensorSlice, OfRowsThatTwoRanksHaveOnlyTheOwnedOnesAreWritten) {
  TensorSlice slice;
  slice.range = {1, 4};
  slice.owned = {2, 4};
  EXPECT_EQ(owned_elements({5, 3}, slice), (ElementRange{3, 9}));
  EXPECT_EQ(owned_runs({5, 3}, slice, {0, 5}), (std::vector<SliceRun>{{6, 3, 2}}));
}

TEST(TensorSlice, OnlyTheSlicedDimIsShorter) {
  TensorSlice slice;
  slice.dim = 1;
  slice.range = {2, 5};
  EXPECT_EQ(slice_shape({2, 6, 4}, slice), (std::vector<int64_t>{2, 3, 4}));
}

}  // namespace
}  // namespace hone::parallel
