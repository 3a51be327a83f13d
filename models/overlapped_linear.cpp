#include "models/overlapped_linear.h"

#include <torch/csrc/autograd/custom_function.h>

#include <memory>
#include <numeric>
#include <utility>

#include "kernels/autograd.h"

namespace hone::models {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Rows by chunk and rank.
using ChunkParts = std::vector<std::vector<int64_t>>;

ChunkParts cut_rows(const std::vector<int64_t>& row_parts, int64_t num_chunks) {
  ChunkParts chunks(static_cast<size_t>(num_chunks));
  for (const int64_t rows : row_parts) {
    const std::vector<int64_t> parts = equal_parts(rows, num_chunks);
    for (size_t c = 0; c < chunks.size(); ++c) chunks[c].push_back(parts[c]);
  }
  return chunks;
}

// Where the parts of a chunk are among all rows.
std::vector<RowRun> runs_of(const ChunkParts& chunks, size_t chunk) {
  std::vector<RowRun> runs;
  int64_t begin = 0;
  for (size_t rank = 0; rank < chunks[chunk].size(); ++rank) {
    for (size_t c = 0; c < chunks.size(); ++c) {
      if (c == chunk) runs.push_back({begin, chunks[c][rank]});
      begin += chunks[c][rank];
    }
  }
  return runs;
}

// What is on its way of one product, forward or backward, by chunk. Nothing in it has a graph that
// leads back to it.
class Transfers {
 public:
  Transfers(ChunkParts parts, Group group)
      : parts_(std::move(parts)), group_(std::move(group)), under_way_(parts_.size()) {}

  size_t num_chunks() const { return parts_.size(); }
  // This rank's rows of each chunk.
  std::vector<int64_t> own_rows() const {
    std::vector<int64_t> rows;
    for (const auto& part : parts_) rows.push_back(part[static_cast<size_t>(group_->rank())]);
    return rows;
  }

  // To the chunk's rows of all ranks, which are there after finish().
  at::Tensor start_gather(size_t chunk, const at::Tensor& rows_tD) {
    UnderWay& way = under_way_[chunk];
    way.sent = rows_tD.contiguous();
    const int64_t all = std::accumulate(parts_[chunk].begin(), parts_[chunk].end(), int64_t{0});
    at::Tensor gathered = at::empty({all, rows_tD.size(1)}, rows_tD.options());
    way.request =
        group_->start_all_gather(way.sent.const_data_ptr(), gathered.mutable_data_ptr(),
                                 counts_of(chunk, rows_tD), comm_dtype(rows_tD.scalar_type()));
    return gathered;
  }
  // The sum over ranks of this rank's rows is what finish() returns.
  void start_scatter(size_t chunk, const at::Tensor& rows_tD) {
    UnderWay& way = under_way_[chunk];
    way.sent = rows_tD.contiguous();
    way.sum = at::empty({own_rows()[chunk], rows_tD.size(1)}, rows_tD.options());
    way.request =
        group_->start_reduce_scatter(way.sent.const_data_ptr(), way.sum.mutable_data_ptr(),
                                     counts_of(chunk, rows_tD), comm_dtype(rows_tD.scalar_type()));
  }
  at::Tensor finish(size_t chunk) {
    under_way_[chunk].request.wait();
    return std::exchange(under_way_[chunk], {}).sum;
  }
  at::Tensor finish_all() {
    std::vector<at::Tensor> sums;
    for (size_t chunk = 0; chunk < num_chunks(); ++chunk) sums.push_back(finish(chunk));
    return at::cat(sums);
  }
  // Between the products: what is on its way moves on.
  void poll() { group_->poll(); }

 private:
  struct UnderWay {
    at::Tensor sent, sum;  // outlive the request
    parallel::Request request;
  };
  std::vector<int64_t> counts_of(size_t chunk, const at::Tensor& rows_tD) const {
    std::vector<int64_t> counts = parts_[chunk];
    for (int64_t& count : counts) count *= rows_tD.size(1);
    return counts;
  }

  const ChunkParts parts_;
  const Group group_;
  std::vector<UnderWay> under_way_;
};

struct ChunkState {
  std::shared_ptr<Transfers> transfers;
  size_t chunk = 0;
};

// In the functions below a tensor between a start and its finish has the shape of what will be
// there, or was sent: not what is in it but its place in the graph counts. The backward runs what
// was made last first, so its transfers are started from the last chunk on.

// This rank's rows to the rows of all ranks, by chunk.
struct StartGathers : torch::autograd::Function<StartGathers> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x_TD,
                               const ChunkState& state) {
    kernels::save_state(ctx, state);
    const auto parts = x_TD.split_with_sizes(state.transfers->own_rows());
    variable_list gathered;
    for (size_t chunk = 0; chunk < parts.size(); ++chunk)
      gathered.push_back(state.transfers->start_gather(chunk, parts[chunk]));
    return gathered;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list&) {
    return {kernels::saved_state<ChunkState>(ctx).transfers->finish_all(), {}};
  }
};

struct FinishGather : torch::autograd::Function<FinishGather> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gathered_tD,
                            const ChunkState& state) {
    kernels::save_state(ctx, state);
    state.transfers->finish(state.chunk);
    return gathered_tD;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const ChunkState& state = kernels::saved_state<ChunkState>(ctx);
    state.transfers->start_scatter(state.chunk, grads[0]);
    state.transfers->poll();
    return {grads[0], {}};
  }
};

struct StartScatter : torch::autograd::Function<StartScatter> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& y_tD, const ChunkState& state) {
    kernels::save_state(ctx, state);
    state.transfers->start_scatter(state.chunk, y_tD);
    state.transfers->poll();
    return y_tD;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const ChunkState& state = kernels::saved_state<ChunkState>(ctx);
    state.transfers->finish(state.chunk);
    return {grads[0], {}};
  }
};

// What was sent, by chunk, to this rank's rows of the sum.
struct FinishScatters : torch::autograd::Function<FinishScatters> {
  static at::Tensor forward(AutogradContext* ctx, const ChunkState& state,
                            at::TensorList /*sent*/) {
    kernels::save_state(ctx, state);
    return state.transfers->finish_all();
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    Transfers& transfers = *kernels::saved_state<ChunkState>(ctx).transfers;
    const auto parts = grads[0].split_with_sizes(transfers.own_rows());
    variable_list gathered(1 + parts.size());
    for (size_t chunk = parts.size(); chunk-- > 0;)
      gathered[1 + chunk] = transfers.start_gather(chunk, parts[chunk]);
    return gathered;
  }
};

}  // namespace

at::Tensor gathered_product(const at::Tensor& x_TD, const std::vector<int64_t>& row_parts,
                            int64_t num_chunks, const Group& group, const RowsProduct& product) {
  const ChunkParts chunks = cut_rows(row_parts, num_chunks);
  const auto transfers = std::make_shared<Transfers>(chunks, group);
  const variable_list gathered = StartGathers::apply(x_TD, ChunkState{transfers});
  std::vector<std::vector<at::Tensor>> outputs;  // by chunk and rank
  for (size_t chunk = 0; chunk < chunks.size(); ++chunk) {
    const at::Tensor rows = FinishGather::apply(gathered[chunk], ChunkState{transfers, chunk});
    outputs.push_back(product(rows, runs_of(chunks, chunk)).split_with_sizes(chunks[chunk]));
  }
  std::vector<at::Tensor> in_order;
  for (size_t rank = 0; rank < row_parts.size(); ++rank) {
    for (const auto& of_chunk : outputs) in_order.push_back(of_chunk[rank]);
  }
  return at::cat(in_order);
}

at::Tensor scattered_product(const at::Tensor& x_TF, const std::vector<int64_t>& row_parts,
                             int64_t num_chunks, const Group& group, const RowsProduct& product) {
  const ChunkParts chunks = cut_rows(row_parts, num_chunks);
  const auto transfers = std::make_shared<Transfers>(chunks, group);
  std::vector<int64_t> sizes;
  for (size_t rank = 0; rank < row_parts.size(); ++rank) {
    for (const auto& chunk : chunks) sizes.push_back(chunk[rank]);
  }
  const std::vector<at::Tensor> pieces = x_TF.split_with_sizes(sizes);
  std::vector<at::Tensor> sent;
  for (size_t chunk = 0; chunk < chunks.size(); ++chunk) {
    std::vector<at::Tensor> rows;
    for (size_t rank = 0; rank < row_parts.size(); ++rank)
      rows.push_back(pieces[rank * chunks.size() + chunk]);
    sent.push_back(StartScatter::apply(product(at::cat(rows), runs_of(chunks, chunk)),
                                       ChunkState{transfers, chunk}));
  }
  return FinishScatters::apply(ChunkState{transfers}, at::TensorList(sent));
}

}  // namespace hone::models
