#include "models/head_exchange.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels/autograd.h"

namespace hone::models {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct ExchangeState {
  ExchangePlan plan;
  Group group;  // null: one rank
};

// Part r of the buffer goes to rank r.
at::Tensor exchanged(const at::Tensor& send_RMC, const ExchangeState& state) {
  if (state.group == nullptr) return send_RMC;
  at::Tensor received = at::empty_like(send_RMC);
  state.group->all_to_all(send_RMC.const_data_ptr(), received.mutable_data_ptr(),
                          send_RMC.numel() / state.plan.num_ranks(),
                          comm_dtype(send_RMC.scalar_type()));
  return received;
}

at::Tensor to_heads(const at::Tensor& x_TC, const ExchangeState& state) {
  const at::Tensor send = pack_for_heads(x_TC, state.plan);
  return unpack_heads(exchanged(send, state), state.plan);
}

// The reverse; what several slots have of one adds up.
at::Tensor to_tokens(const at::Tensor& y_TC, const ExchangeState& state) {
  const at::Tensor send = pack_for_tokens(y_TC, state.plan);
  const at::Tensor received = exchanged(send, state);
  at::Tensor sum = zero_tokens(received, state.plan);
  add_tokens(received, state.plan, sum);
  return sum;
}

struct ToHeads : torch::autograd::Function<ToHeads> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const ExchangeState& state) {
    kernels::save_state(ctx, state);
    return to_heads(x, state);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    return {to_tokens(grads[0], kernels::saved_state<ExchangeState>(ctx)), {}};
  }
};

struct ToTokens : torch::autograd::Function<ToTokens> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& y, const ExchangeState& state) {
    kernels::save_state(ctx, state);
    return to_tokens(y, state);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    return {to_heads(grads[0], kernels::saved_state<ExchangeState>(ctx)), {}};
  }
};

int64_t rank_in(const Group& group) { return group == nullptr ? 0 : group->rank(); }

// Slots of the key/value heads [first, first + count) of a rank, and of the query heads that see
// them.
std::vector<int64_t> slots_of_groups(const HeadSplit& split, const std::vector<int64_t>& slots,
                                     int64_t first, int64_t count) {
  const int64_t group = split.num_heads / split.num_kv_heads;
  std::vector<int64_t> part;
  const auto add = [&](int64_t begin, int64_t size) {
    const auto from = slots.begin() + begin;
    part.insert(part.end(), from, from + size);
  };
  add(first * group, count * group);
  add(split.num_heads + first, count);
  add(split.num_heads + split.num_kv_heads + first, count);
  return part;
}

}  // namespace

HeadSplit split_heads(const LocalHeads& heads, int64_t num_ranks) {
  const int64_t per_rank = heads.num_heads / num_ranks;
  HeadSplit split{.num_heads = per_rank,
                  .num_kv_heads = per_rank / heads.group,
                  .num_slots = heads.num_heads + 2 * heads.num_kv_heads,
                  .num_outputs = heads.num_heads};
  for (int64_t rank = 0; rank < num_ranks; ++rank) {
    std::vector<int64_t> slots;
    for (int64_t head = 0; head < per_rank; ++head) slots.push_back(rank * per_rank + head);
    for (const int64_t first : {heads.num_heads, heads.num_heads + heads.num_kv_heads}) {
      for (int64_t i = 0; i < split.num_kv_heads; ++i) {
        const auto group = static_cast<size_t>(rank * split.num_kv_heads + i);
        slots.push_back(first + heads.kv_of_group[group]);
      }
    }
    split.slots.push_back(std::move(slots));
  }
  std::vector<int64_t> in_place(static_cast<size_t>(split.num_slots));
  std::iota(in_place.begin(), in_place.end(), int64_t{0});
  split.is_identity = num_ranks == 1 && split.slots.front() == in_place;
  return split;
}

std::vector<HeadSplit> cut_heads(const HeadSplit& split, int64_t num_chunks) {
  const int64_t count = std::min(num_chunks, split.num_kv_heads);
  if (count <= 1) return {split};
  std::vector<HeadSplit> chunks;
  int64_t first = 0;
  for (const int64_t kv_heads : equal_parts(split.num_kv_heads, count)) {
    HeadSplit chunk{.num_heads = kv_heads * (split.num_heads / split.num_kv_heads),
                    .num_kv_heads = kv_heads,
                    .num_slots = split.num_slots,
                    .num_outputs = split.num_outputs};
    for (const auto& slots : split.slots)
      chunk.slots.push_back(slots_of_groups(split, slots, first, kv_heads));
    chunks.push_back(std::move(chunk));
    first += kv_heads;
  }
  return chunks;
}

ExchangePlan plan_to_heads(const HeadSplit& split, const std::vector<int64_t>& token_parts,
                           const Group& group) {
  return {.slots = split.slots,
          .token_parts = token_parts,
          .num_slots = split.num_slots,
          .rank = rank_in(group)};
}

ExchangePlan plan_to_tokens(const HeadSplit& split, const std::vector<int64_t>& token_parts,
                            const Group& group) {
  ExchangePlan plan{
      .token_parts = token_parts, .num_slots = split.num_outputs, .rank = rank_in(group)};
  // Query heads come first among the slots of q|k|v, before the exchange and after it.
  for (const auto& slots : split.slots)
    plan.slots.emplace_back(slots.begin(), slots.begin() + split.num_heads);
  return plan;
}

at::Tensor exchange_to_heads(const at::Tensor& qkv_TC, const HeadSplit& split,
                             const std::vector<int64_t>& token_parts, const Group& group) {
  if (split.is_identity) return qkv_TC;
  const Group others = split.slots.size() > 1 ? group : nullptr;
  return ToHeads::apply(qkv_TC, ExchangeState{plan_to_heads(split, token_parts, others), others});
}

at::Tensor exchange_to_tokens(const at::Tensor& out_TC, const HeadSplit& split,
                              const std::vector<int64_t>& token_parts, const Group& group) {
  if (split.slots.size() == 1) return out_TC;
  return ToTokens::apply(out_TC, ExchangeState{plan_to_tokens(split, token_parts, group), group});
}

}  // namespace hone::models
