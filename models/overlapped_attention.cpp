#include "models/overlapped_attention.h"

#include <torch/csrc/autograd/custom_function.h>

#include <memory>
#include <utility>

#include "kernels/autograd.h"

namespace hone::models {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What is on its way in one direction, by chunk: in the forward, or the other way in the backward.
class Transfers {
 public:
  Transfers(std::vector<ExchangePlan> plans, Group group)
      : plans_(std::move(plans)), group_(std::move(group)), under_way_(plans_.size()) {}

  size_t num_chunks() const { return plans_.size(); }

  // This rank's tokens of all slots [T_part, S * dim], of which a chunk sends its own.
  void start_to_heads(size_t chunk, const at::Tensor& x_TC) {
    start(chunk, pack_for_heads(x_TC, plans_[chunk]));
  }
  // All tokens of a chunk's slots on this rank: [T, C].
  at::Tensor finish_to_heads(size_t chunk) { return unpack_heads(finish(chunk), plans_[chunk]); }

  void start_to_tokens(size_t chunk, const at::Tensor& y_TC) {
    start(chunk, pack_for_tokens(y_TC, plans_[chunk]));
    group_->poll();  // between the attention of two chunks: what is on its way moves on
  }
  // [T_part, S * dim], in one order of sums.
  at::Tensor finish_to_tokens() {
    at::Tensor sum;
    for (size_t chunk = 0; chunk < num_chunks(); ++chunk) {
      const at::Tensor received = finish(chunk);
      if (!sum.defined()) sum = zero_tokens(received, plans_[chunk]);
      add_tokens(received, plans_[chunk], sum);
    }
    return sum;
  }

 private:
  struct UnderWay {
    at::Tensor sent, received;  // outlive the request
    parallel::Request request;
  };
  void start(size_t chunk, at::Tensor sent_RMC) {
    UnderWay& way = under_way_[chunk];
    way.sent = std::move(sent_RMC);
    way.received = at::empty_like(way.sent);
    way.request = group_->start_all_to_all(
        way.sent.const_data_ptr(), way.received.mutable_data_ptr(),
        way.sent.numel() / plans_[chunk].num_ranks(), comm_dtype(way.sent.scalar_type()));
  }
  at::Tensor finish(size_t chunk) {
    under_way_[chunk].request.wait();
    return std::exchange(under_way_[chunk], {}).received;
  }

  const std::vector<ExchangePlan> plans_;
  const Group group_;
  std::vector<UnderWay> under_way_;
};

struct ChunkState {
  std::shared_ptr<Transfers> transfers;
  size_t chunk = 0;
};

Transfers& transfers_of(AutogradContext* ctx) {
  return *kernels::saved_state<ChunkState>(ctx).transfers;
}

// What goes from a start to its finish is an empty tensor: its place in the graph counts, the data
// is in Transfers. The backward runs what was made last first, so its transfers are started from
// the last chunk on.
at::Tensor mark_like(const at::Tensor& x) { return at::empty({0}, x.options()); }

// This rank's tokens to all ranks' heads, by chunk.
struct StartToHeads : torch::autograd::Function<StartToHeads> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& qkv_TC,
                               const ChunkState& state) {
    kernels::save_state(ctx, state);
    variable_list marks;
    for (size_t chunk = 0; chunk < state.transfers->num_chunks(); ++chunk) {
      state.transfers->start_to_heads(chunk, qkv_TC);
      marks.push_back(mark_like(qkv_TC));
    }
    return marks;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list&) {
    return {transfers_of(ctx).finish_to_tokens(), {}};
  }
};

struct FinishToHeads : torch::autograd::Function<FinishToHeads> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& /*mark*/,
                            const ChunkState& state) {
    kernels::save_state(ctx, state);
    return state.transfers->finish_to_heads(state.chunk);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const ChunkState& state = kernels::saved_state<ChunkState>(ctx);
    state.transfers->start_to_tokens(state.chunk, grads[0]);
    return {mark_like(grads[0]), {}};
  }
};

// What attention made of a chunk, on its way back.
struct StartToTokens : torch::autograd::Function<StartToTokens> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& out_TC,
                            const ChunkState& state) {
    kernels::save_state(ctx, state);
    state.transfers->start_to_tokens(state.chunk, out_TC);
    return mark_like(out_TC);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list&) {
    const ChunkState& state = kernels::saved_state<ChunkState>(ctx);
    return {state.transfers->finish_to_heads(state.chunk), {}};
  }
};

struct FinishToTokens : torch::autograd::Function<FinishToTokens> {
  static at::Tensor forward(AutogradContext* ctx, const ChunkState& state,
                            at::TensorList /*marks*/) {
    kernels::save_state(ctx, state);
    return state.transfers->finish_to_tokens();
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    Transfers& transfers = transfers_of(ctx);
    variable_list marks(1 + transfers.num_chunks());
    for (size_t chunk = transfers.num_chunks(); chunk-- > 0;) {
      transfers.start_to_heads(chunk, grads[0]);
      marks[1 + chunk] = mark_like(grads[0]);
    }
    return marks;
  }
};

std::shared_ptr<Transfers> transfers_by(const std::vector<HeadSplit>& chunks,
                                        const std::vector<int64_t>& token_parts, const Group& group,
                                        decltype(plan_to_heads)* plan) {
  std::vector<ExchangePlan> plans;
  for (const HeadSplit& chunk : chunks) plans.push_back(plan(chunk, token_parts, group));
  return std::make_shared<Transfers>(std::move(plans), group);
}

at::Tensor attention_in_chunks(const at::Tensor& qkv_TC, const std::vector<HeadSplit>& chunks,
                               const std::vector<int64_t>& token_parts, const Group& group,
                               const HeadsAttention& attention) {
  const auto there = transfers_by(chunks, token_parts, group, plan_to_heads);
  const auto back = transfers_by(chunks, token_parts, group, plan_to_tokens);
  const variable_list arriving = StartToHeads::apply(qkv_TC, ChunkState{there});
  std::vector<at::Tensor> returning;
  for (size_t chunk = 0; chunk < chunks.size(); ++chunk) {
    const at::Tensor own_TC = FinishToHeads::apply(arriving[chunk], ChunkState{there, chunk});
    returning.push_back(
        StartToTokens::apply(attention(own_TC, chunks[chunk]), ChunkState{back, chunk}));
  }
  return FinishToTokens::apply(ChunkState{back}, at::TensorList(returning));
}

}  // namespace

at::Tensor exchanged_attention(const at::Tensor& qkv_TC, const HeadSplit& split,
                               const std::vector<int64_t>& token_parts, int64_t num_chunks,
                               const Group& group, const HeadsAttention& attention) {
  if (split.slots.size() > 1 && num_chunks > 1) {
    const std::vector<HeadSplit> chunks = cut_heads(split, num_chunks);
    if (chunks.size() > 1)
      return attention_in_chunks(qkv_TC, chunks, token_parts, group, attention);
  }
  const at::Tensor own_TC = exchange_to_heads(qkv_TC, split, token_parts, group);
  return exchange_to_tokens(attention(own_TC, split), split, token_parts, group);
}

}  // namespace hone::models
