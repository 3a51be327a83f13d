#include "models/head_exchange.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numeric>

#include "kernels/autograd.h"

namespace hone::models {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct ExchangeState {
  std::vector<std::vector<int64_t>> slots;  // by rank
  std::vector<int64_t> token_parts;
  int64_t num_slots = 0;  // of a token before the exchange
  Group group;            // null: one rank
  size_t rank() const { return group == nullptr ? 0 : static_cast<size_t>(group->rank()); }
  int64_t num_ranks() const { return static_cast<int64_t>(slots.size()); }
  int64_t own_tokens() const { return token_parts[rank()]; }
  int64_t num_tokens() const {
    return std::accumulate(token_parts.begin(), token_parts.end(), int64_t{0});
  }
  int64_t most_tokens() const { return *std::ranges::max_element(token_parts); }
};

// Calls visit(slot, place, count) for neighbouring slots at neighbouring places.
template <typename Visit>
void for_slot_runs(const std::vector<int64_t>& slots, const Visit& visit) {
  for (size_t begin = 0, end; begin < slots.size(); begin = end) {
    end = begin + 1;
    while (end < slots.size() && slots[end] == slots[end - 1] + 1) ++end;
    visit(slots[begin], static_cast<int64_t>(begin), static_cast<int64_t>(end - begin));
  }
}

// Part r of the buffer goes to rank r. Parts are as long as the longest rank's, for one count.
at::Tensor exchanged(const at::Tensor& send_RTC, const ExchangeState& state) {
  if (state.group == nullptr) return send_RTC;
  at::Tensor received = at::empty_like(send_RTC);
  state.group->all_to_all(send_RTC.const_data_ptr(), received.mutable_data_ptr(),
                          send_RTC.numel() / state.num_ranks(), comm_dtype(send_RTC.scalar_type()));
  return received;
}

at::Tensor buffer_for(const at::Tensor& like, const ExchangeState& state, int64_t columns) {
  return at::empty({state.num_ranks(), state.most_tokens(), columns}, like.options());
}

at::Tensor to_heads(const at::Tensor& x_TC, const ExchangeState& state) {
  const int64_t dim = x_TC.size(1) / state.num_slots;
  const auto columns = static_cast<int64_t>(state.slots.front().size()) * dim;
  const at::Tensor send = buffer_for(x_TC, state, columns);
  for (int64_t rank = 0; rank < state.num_ranks(); ++rank) {
    const at::Tensor rows = send.select(0, rank).narrow(0, 0, x_TC.size(0));
    for_slot_runs(
        state.slots[static_cast<size_t>(rank)], [&](int64_t slot, int64_t place, int64_t count) {
          rows.narrow(1, place * dim, count * dim).copy_(x_TC.narrow(1, slot * dim, count * dim));
        });
  }
  const at::Tensor received = exchanged(send, state);
  if (state.num_ranks() == 1) return received.select(0, 0);
  std::vector<at::Tensor> parts;
  for (int64_t rank = 0; rank < state.num_ranks(); ++rank) {
    parts.push_back(
        received.select(0, rank).narrow(0, 0, state.token_parts[static_cast<size_t>(rank)]));
  }
  return at::cat(parts);
}

// The reverse; what several slots have of one adds up.
at::Tensor to_tokens(const at::Tensor& y_TC, const ExchangeState& state) {
  const int64_t dim = y_TC.size(1) / static_cast<int64_t>(state.slots.front().size());
  const at::Tensor send = buffer_for(y_TC, state, y_TC.size(1));
  int64_t begin = 0;
  for (int64_t rank = 0; rank < state.num_ranks(); ++rank) {
    const int64_t tokens = state.token_parts[static_cast<size_t>(rank)];
    send.select(0, rank).narrow(0, 0, tokens).copy_(y_TC.narrow(0, begin, tokens));
    begin += tokens;
  }
  const at::Tensor received = exchanged(send, state);
  at::Tensor sum = at::zeros({state.own_tokens(), state.num_slots * dim}, y_TC.options());
  for (int64_t rank = 0; rank < state.num_ranks(); ++rank) {
    const at::Tensor rows = received.select(0, rank).narrow(0, 0, state.own_tokens());
    for_slot_runs(
        state.slots[static_cast<size_t>(rank)], [&](int64_t slot, int64_t place, int64_t count) {
          sum.narrow(1, slot * dim, count * dim).add_(rows.narrow(1, place * dim, count * dim));
        });
  }
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

}  // namespace

HeadSplit split_heads(const LocalHeads& heads, int64_t num_ranks) {
  const int64_t per_rank = heads.num_heads / num_ranks;
  HeadSplit split{.num_heads = per_rank, .num_kv_heads = per_rank / heads.group};
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
  std::vector<int64_t> in_place(static_cast<size_t>(heads.num_heads + 2 * heads.num_kv_heads));
  std::iota(in_place.begin(), in_place.end(), int64_t{0});
  split.is_identity = num_ranks == 1 && split.slots.front() == in_place;
  return split;
}

at::Tensor exchange_to_heads(const at::Tensor& qkv_TC, const HeadSplit& split,
                             const std::vector<int64_t>& token_parts, const Group& group) {
  if (split.is_identity) return qkv_TC;
  const auto highest = [](const std::vector<int64_t>& slots) {
    return *std::ranges::max_element(slots);
  };
  int64_t num_slots = 0;
  for (const auto& slots : split.slots) num_slots = std::max(num_slots, highest(slots) + 1);
  return ToHeads::apply(qkv_TC, ExchangeState{.slots = split.slots,
                                              .token_parts = token_parts,
                                              .num_slots = num_slots,
                                              .group = split.slots.size() > 1 ? group : nullptr});
}

at::Tensor exchange_to_tokens(const at::Tensor& out_TC, const HeadSplit& split,
                              const std::vector<int64_t>& token_parts, const Group& group) {
  if (split.slots.size() == 1) return out_TC;
  ExchangeState state{.token_parts = token_parts, .group = group};
  state.num_slots = split.num_heads * static_cast<int64_t>(split.slots.size());
  for (size_t rank = 0; rank < split.slots.size(); ++rank) {
    std::vector<int64_t> heads(static_cast<size_t>(split.num_heads));
    std::iota(heads.begin(), heads.end(), static_cast<int64_t>(rank) * split.num_heads);
    state.slots.push_back(std::move(heads));
  }
  return ToTokens::apply(out_TC, state);
}

}  // namespace hone::models
