// Products that are split over the tensor axis, in chunks of rows: while one chunk is multiplied,
// the rows of others are on their way. The same sums as all rows at once, but for the order in
// which a weight's gradient is added up.
//
// Chunk c has part c of every rank's rows. All calls are collective over `group`, under autograd in
// the backward too, and chunks are sent in one order on all ranks. `row_parts` says how many rows
// each rank has; a rank may have fewer than there are chunks.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "models/row_parallel.h"

namespace hone::models {

// Rows [first, first + count) of all ranks' rows.
struct RowRun {
  int64_t first = 0, count = 0;
};

// The product of rows [t, D] that are those of `runs`, one after the other: [t, O].
using RowsProduct = std::function<at::Tensor(const at::Tensor& x_tD, const std::vector<RowRun>&)>;

// product(all_gather_rows(x)): this rank's rows [T_part, D] to [T, O].
at::Tensor gathered_product(const at::Tensor& x_TD, const std::vector<int64_t>& row_parts,
                            int64_t num_chunks, const Group& group, const RowsProduct& product);

// reduce_scatter_rows(product(x)): all rows [T, F] to this rank's [T_part, O].
at::Tensor scattered_product(const at::Tensor& x_TF, const std::vector<int64_t>& row_parts,
                             int64_t num_chunks, const Group& group, const RowsProduct& product);

}  // namespace hone::models
