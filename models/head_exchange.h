// Attention over the ranks of the context axis: each has some tokens of all heads and exchanges
// them for all tokens of some heads (all-to-all, arXiv:2309.14509), so documents, windows and the
// causal order need nothing of their own, and every rank has the same work.
//
// Shape legend: T tokens, S head slots of a fused q|k|v (query heads, then key heads, then value
// heads), N head dim.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "models/exchange_buffers.h"
#include "models/row_parallel.h"
#include "models/spec/shard_plan.h"

namespace hone::models {

// How this rank's heads, those of its part of the tensor axis, are dealt out over the context axis:
// all of them, or one chunk.
struct HeadSplit {
  // By rank of the axis, the slots that it gets: query heads, key heads, value heads. A key/value
  // head that query heads of several ranks see goes to each of them; one of which the query heads
  // are not a whole group, twice to one.
  std::vector<std::vector<int64_t>> slots;
  int64_t num_heads = 0, num_kv_heads = 0;  // of a rank after the exchange
  int64_t num_slots = 0, num_outputs = 0;   // of a token before it: slots, and query heads
  bool is_identity = false;                 // nothing to do: one rank, every slot in its place
};
HeadSplit split_heads(const LocalHeads& heads, int64_t num_ranks);

// The same heads in parts of whole groups of query heads, as equal as they can be: `num_chunks`, or
// as many as there are groups.
std::vector<HeadSplit> cut_heads(const HeadSplit& split, int64_t num_chunks);

// Of q|k|v, and of what attention makes of them, on this rank of the group (null: there is one).
ExchangePlan plan_to_heads(const HeadSplit& split, const std::vector<int64_t>& token_parts,
                           const Group& group);
ExchangePlan plan_to_tokens(const HeadSplit& split, const std::vector<int64_t>& token_parts,
                            const Group& group);

// [T_part, S * N] to [T, slots * N] of this rank. Without a group slots are put in order only.
// Collective over the group, in the backward too.
at::Tensor exchange_to_heads(const at::Tensor& qkv_TC, const HeadSplit& split,
                             const std::vector<int64_t>& token_parts, const Group& group);

// What attention made of it, [T, heads * N], to this rank's tokens of all heads, [T_part, H * N].
at::Tensor exchange_to_tokens(const at::Tensor& out_TC, const HeadSplit& split,
                              const std::vector<int64_t>& token_parts, const Group& group);

}  // namespace hone::models
