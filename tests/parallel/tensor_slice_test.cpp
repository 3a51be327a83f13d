#include "parallel/tensor_slice.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace hone::parallel {
namespace {

using Runs = std::vector<SliceRun>;

TEST(TensorSlice, RowsOfASliceAreOneRunFromWhereTheyBegin) {
  const std::vector<int64_t> shape{6, 4};
  const TensorSlice slice{.dim = 0, .range = {2, 5}, .owned = {2, 5}};
  EXPECT_EQ(slice_shape(shape, slice), (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(slice_numel(shape, slice), 12);
  EXPECT_EQ(slice_runs(shape, slice, {3, 10}), (Runs{{11, 3, 7}}));
  EXPECT_EQ(slice_runs(shape, slice, {3, 3}), Runs{});
}

TEST(TensorSlice, ColumnsOfASliceAreARunARow) {
  const std::vector<int64_t> shape{3, 5};
  const TensorSlice slice{.dim = 1, .range = {1, 3}, .owned = {1, 3}};
  EXPECT_EQ(slice_shape(shape, slice), (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(slice_runs(shape, slice, {0, 6}), (Runs{{1, 0, 2}, {6, 2, 2}, {11, 4, 2}}));
  EXPECT_EQ(slice_runs(shape, slice, {1, 5}), (Runs{{2, 1, 1}, {6, 2, 2}, {11, 4, 1}}))
      << "a part may begin and end inside a row";
}

TEST(TensorSlice, ElementsInsideTheCutDimStayTogether) {
  const TensorSlice slice{.dim = 1, .range = {2, 4}, .owned = {2, 4}};
  EXPECT_EQ(slice_runs({2, 4, 3}, slice, {0, 12}), (Runs{{6, 0, 6}, {18, 6, 6}}));
}

TEST(TensorSlice, RowsThatAnEarlierRankHasAreNotOwned) {
  const std::vector<int64_t> shape{6, 4};
  const TensorSlice slice{.dim = 0, .range = {2, 5}, .owned = {3, 5}, .is_shared = true};
  EXPECT_EQ(owned_elements(shape, slice), (ElementRange{4, 12}));
  EXPECT_EQ(owned_runs(shape, slice, {1, 7}), (Runs{{12, 4, 3}}));
  EXPECT_EQ(owned_runs(shape, slice, {0, 4}), Runs{});
}

TEST(TensorSlice, ColumnsAreOwnedWholeOrNotAtAll) {
  const std::vector<int64_t> shape{3, 5};
  TensorSlice slice{.dim = 1, .range = {1, 3}, .owned = {1, 3}};
  EXPECT_EQ(owned_elements(shape, slice), (ElementRange{0, 6}));
  EXPECT_EQ(owned_runs(shape, slice, {1, 5}), slice_runs(shape, slice, {1, 5}));
  slice.owned = {3, 3};
  EXPECT_EQ(owned_elements(shape, slice).size(), 0);
  EXPECT_EQ(owned_runs(shape, slice, {1, 5}), Runs{});
  slice.owned = {2, 3};
  EXPECT_THROW(owned_elements(shape, slice), core::Error);
}

TEST(TensorSlice, AWholeTensorIsOwnedByTheFirstRankAlone) {
  const std::vector<int64_t> shape{4, 2};
  for (const int64_t index : {0, 1, 2}) {
    const TensorSlice slice = whole_slice(shape, {index, 3});
    EXPECT_EQ(slice_shape(shape, slice), shape);
    EXPECT_TRUE(slice.is_shared);
    EXPECT_EQ(owned_elements(shape, slice).size(), index == 0 ? 8 : 0);
    EXPECT_EQ(slice_runs(shape, slice, {0, 8}), (Runs{{0, 0, 8}}));
  }
  EXPECT_FALSE(whole_slice(shape, {}).is_shared);
}

}  // namespace
}  // namespace hone::parallel
