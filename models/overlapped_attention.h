// Attention over the ranks of the context axis, in chunks of heads: while one chunk is computed,
// those after it are on their way to the ranks that compute them, and results of those before it on
// their way back. The same numbers as all heads at once, but for the order in which gradients of a
// head that several groups see, and of what norms heads, are added up.
//
// Chunks are sent in one order on all ranks. Between a chunk's start and its end the group is free
// for other collectives.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "models/head_exchange.h"

namespace hone::models {

// q|k|v [T, slots * N] of all tokens and of the heads of `heads` on this rank to [T, heads * N].
using HeadsAttention = std::function<at::Tensor(const at::Tensor& qkv_TC, const HeadSplit& heads)>;

// exchange_to_tokens(attention(exchange_to_heads(qkv))): this rank's tokens [T_part, S * N] to
// [T_part, H * N]. `num_chunks` as for cut_heads; one, or one rank: all heads at once. Collective
// over the group, in the backward too.
at::Tensor exchanged_attention(const at::Tensor& qkv_TC, const HeadSplit& split,
                               const std::vector<int64_t>& token_parts, int64_t num_chunks,
                               const Group& group, const HeadsAttention& attention);

}  // namespace hone::models
