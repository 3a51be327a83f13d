// Sums in a fixed order: one binary tree, the same whether its leaves are ranks or the
// micro-batches of one rank.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/comm/dtype.h"

namespace hone::parallel {

// output[i] = inputs[0][i] op inputs[1][i] op ..., each of `count` elements of `dtype`. The tree
// over n inputs splits at the largest power of two below n: 4 inputs give (0+1)+(2+3), 3 give
// (0+1)+2. So for powers of two a tree over the sums of equal contiguous groups is the tree over
// all, bit by bit (for float32 and float64; 2-byte types are rounded at every call, within one call
// once). `output` may be exactly one of the inputs, else must not overlap them. Needs at least one
// input.
void combine_tree(DType dtype, ReduceOp op, const std::vector<const void*>& inputs, void* output,
                  int64_t count);

}  // namespace hone::parallel
