// The buffers of an exchange of heads for tokens over the context axis: what is packed before an
// all-to-all and what its result means. Nothing here communicates or is under autograd.
//
// Shape legend: R ranks, M the most tokens that a rank has (parts are padded to it, for one count),
// T tokens, S slots of a token, C columns (slots * head dim).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace hone::models {

// Slots of every token that go to the ranks, one rank after the other. All ranks get as many; a
// slot may go to several ranks, or twice to one.
struct ExchangePlan {
  std::vector<std::vector<int64_t>> slots;  // by rank
  std::vector<int64_t> token_parts;         // by rank
  int64_t num_slots = 0;                    // of a token before the exchange
  int64_t rank = 0;                         // this one

  int64_t num_ranks() const { return static_cast<int64_t>(slots.size()); }
  int64_t slots_per_rank() const { return static_cast<int64_t>(slots.front().size()); }
  int64_t own_tokens() const { return token_parts[static_cast<size_t>(rank)]; }
};

// This rank's tokens [T_part, S * dim] to what each rank gets of them: [R, M, C].
at::Tensor pack_for_heads(const at::Tensor& x_TC, const ExchangePlan& plan);
// What came from each rank, [R, M, C], to all tokens of this rank's slots: [T, C].
at::Tensor unpack_heads(const at::Tensor& received_RMC, const ExchangePlan& plan);

// The reverse of both. All tokens of this rank's slots [T, C] to [R, M, C].
at::Tensor pack_for_tokens(const at::Tensor& y_TC, const ExchangePlan& plan);
// Adds what came from each rank, [R, M, C], to this rank's tokens [T_part, S * dim]: what several
// slots have of one adds up.
void add_tokens(const at::Tensor& received_RMC, const ExchangePlan& plan, const at::Tensor& sum_TC);
// Where that begins: zeros of the element type of `received`.
at::Tensor zero_tokens(const at::Tensor& received_RMC, const ExchangePlan& plan);

}  // namespace hone::models
