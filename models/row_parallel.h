// Rows of activations over the ranks of the tensor axis: outside the products that are split over
// it, each rank has the rows of some tokens (sequence parallelism, arXiv:2205.05198).
//
// All calls are collective over `group`, under autograd in the backward too; `row_parts` says how
// many rows each of its ranks has. Without a group they return what they are given.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "parallel/comm/communicator.h"

namespace hone::models {

using Group = std::shared_ptr<parallel::Communicator>;

// The element type of a tensor as the communicator calls it: float32, bfloat16, float16, float64.
parallel::DType comm_dtype(at::ScalarType type);

// This rank's rows [T_part, D] to all rows [T, D]. Its backward adds up the ranks' gradients.
at::Tensor all_gather_rows(const at::Tensor& x_TD, const std::vector<int64_t>& row_parts,
                           const Group& group);

// The sum over ranks of x_TD [T, D], of which this rank gets its rows [T_part, D]; the reverse of
// the above.
at::Tensor reduce_scatter_rows(const at::Tensor& x_TD, const std::vector<int64_t>& row_parts,
                               const Group& group);

// Parts of `count` rows, as equal as they can be.
std::vector<int64_t> equal_parts(int64_t count, int64_t num_parts);

}  // namespace hone::models
