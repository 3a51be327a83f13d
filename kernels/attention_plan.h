// How attention over a row of documents is cut into tasks, and the packed float copies the kernels
// work on.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "kernels/ops.h"
#include "kernels/simd/table.h"

namespace hone::kernels {

// What one call is about. C = (H + 2K) * N.
struct AttentionInput {
  at::Tensor qkv_TC, cos_TN2, sin_TN2;
  std::vector<int32_t> cu_doc_lens;
  AttentionShape shape;
  Weight q_norm_N, k_norm_N;
  double norm_eps = 0;
};

struct AttentionPlan {
  std::vector<KeyBlock> blocks;
  std::vector<QueryTask> tasks;  // the costly ones first
  int64_t transposed_size = 0;   // floats of one kv head
  int64_t num_chunks = 1;
};

int64_t padded_head_dim(const AttentionShape& shape);

AttentionPlan plan_forward(const std::vector<int32_t>& cu_doc_lens, const AttentionShape& shape);

// One task is (head, document, chunk of queries). Chunks exist only to feed more threads than there
// are heads and documents: each has key and value gradients of its own, added up in order.
AttentionPlan plan_backward(const std::vector<int32_t>& cu_doc_lens, const AttentionShape& shape,
                            int num_threads);

// Throws kInternal when shapes don't fit together.
void check_attention(const AttentionInput& input);

// A head slot of qkv: query heads first, then key heads, then value heads.
RopeRows rope_rows(const AttentionInput& input, int64_t slot, int64_t begin, int64_t end);

// Heads [first, first + count) as [count, T, padded_dim] floats: normed and rotated, values as they
// are.
at::Tensor pack_heads(const AttentionInput& input, int64_t first, int64_t count);

// [K, T, padded_dim] to the transposed blocks of every kv head.
at::Tensor transpose_heads(const AttentionPlan& plan, const at::Tensor& x_KTP);

}  // namespace hone::kernels
