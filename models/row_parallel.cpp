#include "models/row_parallel.h"

#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"
#include "kernels/autograd.h"

namespace hone::models {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct RowsState {
  std::vector<int64_t> row_parts;
  Group group;
};

int64_t sum_of(const std::vector<int64_t>& parts) {
  int64_t sum = 0;
  for (const int64_t part : parts) sum += part;
  return sum;
}

// Elements of each rank's rows.
std::vector<int64_t> counts_of(const std::vector<int64_t>& row_parts, int64_t columns) {
  std::vector<int64_t> counts = row_parts;
  for (int64_t& count : counts) count *= columns;
  return counts;
}

at::Tensor gather(const at::Tensor& x_TD, const RowsState& state) {
  const at::Tensor mine = x_TD.contiguous();
  at::Tensor all = at::empty({sum_of(state.row_parts), mine.size(1)}, mine.options());
  state.group->all_gather(mine.const_data_ptr(), all.mutable_data_ptr(),
                          counts_of(state.row_parts, mine.size(1)), comm_dtype(mine.scalar_type()));
  return all;
}

at::Tensor reduce_scatter(const at::Tensor& x_TD, const RowsState& state) {
  const at::Tensor all = x_TD.contiguous();
  const int64_t rows = state.row_parts[static_cast<size_t>(state.group->rank())];
  at::Tensor mine = at::empty({rows, all.size(1)}, all.options());
  state.group->reduce_scatter(all.const_data_ptr(), mine.mutable_data_ptr(),
                              counts_of(state.row_parts, all.size(1)),
                              comm_dtype(all.scalar_type()));
  return mine;
}

struct AllGatherRows : torch::autograd::Function<AllGatherRows> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_TD, const RowsState& state) {
    kernels::save_state(ctx, state);
    return gather(x_TD, state);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    return {reduce_scatter(grads[0], kernels::saved_state<RowsState>(ctx)), {}};
  }
};

struct ReduceScatterRows : torch::autograd::Function<ReduceScatterRows> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_TD, const RowsState& state) {
    kernels::save_state(ctx, state);
    return reduce_scatter(x_TD, state);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    return {gather(grads[0], kernels::saved_state<RowsState>(ctx)), {}};
  }
};

}  // namespace

parallel::DType comm_dtype(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return parallel::DType::kFloat32;
    case at::kBFloat16:
      return parallel::DType::kBFloat16;
    case at::kHalf:
      return parallel::DType::kFloat16;
    case at::kDouble:
      return parallel::DType::kFloat64;
    default:
      core::fail(core::ErrorKind::kInternal,
                 {.what = "no element type for communication", .got = at::toString(type)});
  }
}

at::Tensor all_gather_rows(const at::Tensor& x_TD, const std::vector<int64_t>& row_parts,
                           const Group& group) {
  return group == nullptr ? x_TD : AllGatherRows::apply(x_TD, RowsState{row_parts, group});
}

at::Tensor reduce_scatter_rows(const at::Tensor& x_TD, const std::vector<int64_t>& row_parts,
                               const Group& group) {
  return group == nullptr ? x_TD : ReduceScatterRows::apply(x_TD, RowsState{row_parts, group});
}

std::vector<int64_t> equal_parts(int64_t count, int64_t num_parts) {
  std::vector<int64_t> parts;
  for (int64_t i = 0; i < num_parts; ++i)
    parts.push_back(count * (i + 1) / num_parts - count * i / num_parts);
  return parts;
}

}  // namespace hone::models
