#include "models/exchange_buffers.h"

#include <algorithm>

namespace hone::models {
namespace {

// Calls visit(slot, place, count) for neighbouring slots at neighbouring places.
template <typename Visit>
void for_slot_runs(const std::vector<int64_t>& slots, const Visit& visit) {
  for (size_t begin = 0, end; begin < slots.size(); begin = end) {
    end = begin + 1;
    while (end < slots.size() && slots[end] == slots[end - 1] + 1) ++end;
    visit(slots[begin], static_cast<int64_t>(begin), static_cast<int64_t>(end - begin));
  }
}

at::Tensor buffer_for(const at::Tensor& like, const ExchangePlan& plan, int64_t columns) {
  const int64_t most_tokens = *std::ranges::max_element(plan.token_parts);
  return at::empty({plan.num_ranks(), most_tokens, columns}, like.options());
}

}  // namespace

at::Tensor pack_for_heads(const at::Tensor& x_TC, const ExchangePlan& plan) {
  const int64_t dim = x_TC.size(1) / plan.num_slots;
  at::Tensor send = buffer_for(x_TC, plan, plan.slots_per_rank() * dim);
  for (int64_t rank = 0; rank < plan.num_ranks(); ++rank) {
    const at::Tensor rows = send.select(0, rank).narrow(0, 0, x_TC.size(0));
    for_slot_runs(
        plan.slots[static_cast<size_t>(rank)], [&](int64_t slot, int64_t place, int64_t count) {
          rows.narrow(1, place * dim, count * dim).copy_(x_TC.narrow(1, slot * dim, count * dim));
        });
  }
  return send;
}

at::Tensor unpack_heads(const at::Tensor& received_RMC, const ExchangePlan& plan) {
  if (plan.num_ranks() == 1) return received_RMC.select(0, 0);
  std::vector<at::Tensor> parts;
  for (int64_t rank = 0; rank < plan.num_ranks(); ++rank) {
    parts.push_back(
        received_RMC.select(0, rank).narrow(0, 0, plan.token_parts[static_cast<size_t>(rank)]));
  }
  return at::cat(parts);
}

at::Tensor pack_for_tokens(const at::Tensor& y_TC, const ExchangePlan& plan) {
  at::Tensor send = buffer_for(y_TC, plan, y_TC.size(1));
  int64_t begin = 0;
  for (int64_t rank = 0; rank < plan.num_ranks(); ++rank) {
    const int64_t tokens = plan.token_parts[static_cast<size_t>(rank)];
    send.select(0, rank).narrow(0, 0, tokens).copy_(y_TC.narrow(0, begin, tokens));
    begin += tokens;
  }
  return send;
}

void add_tokens(const at::Tensor& received_RMC, const ExchangePlan& plan,
                const at::Tensor& sum_TC) {
  const int64_t dim = sum_TC.size(1) / plan.num_slots;
  for (int64_t rank = 0; rank < plan.num_ranks(); ++rank) {
    const at::Tensor rows = received_RMC.select(0, rank).narrow(0, 0, plan.own_tokens());
    for_slot_runs(
        plan.slots[static_cast<size_t>(rank)], [&](int64_t slot, int64_t place, int64_t count) {
          sum_TC.narrow(1, slot * dim, count * dim).add_(rows.narrow(1, place * dim, count * dim));
        });
  }
}

at::Tensor zero_tokens(const at::Tensor& received_RMC, const ExchangePlan& plan) {
  const int64_t dim = received_RMC.size(2) / plan.slots_per_rank();
  return at::zeros({plan.own_tokens(), plan.num_slots * dim}, received_RMC.options());
}

}  // namespace hone::models
