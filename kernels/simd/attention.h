// Causal attention of one head over key blocks, forward and backward, as FlashAttention-2 (Dao,
// arXiv:2307.08691): scores exist one block at a time, the backward recomputes them from the saved
// log-sum-exp.
#pragma once

#include "kernels/simd/vec.h"

namespace hone::kernels {
namespace {

constexpr float kMasked = -1e30f;  // finite: a row whose block is all masked stays free of NaN

// [rows, dim] into [dim, width]; columns past `rows` are zero.
void transpose_block(const float* src, int64_t rows, int64_t dim, int64_t width, float* dst) {
  constexpr int64_t kStep = 16;
  for (int64_t d0 = 0; d0 < dim; d0 += kStep) {
    const int64_t d1 = smaller(d0 + kStep, dim);
    for (int64_t r0 = 0; r0 < width; r0 += kStep) {
      const int64_t r1 = smaller(r0 + kStep, width);
      for (int64_t d = d0; d < d1; ++d) {
        for (int64_t r = r0; r < r1; ++r) dst[d * width + r] = r < rows ? src[r * dim + d] : 0.0f;
      }
    }
  }
}

// Columns of a block that any of the queries up to `last` may see, in whole vectors.
inline int64_t visible_columns(const KeyBlock& block, int64_t last) {
  return round_up(smaller(block.end, last + 1) - block.begin, kLanes);
}

// First and one past the last column that query i sees.
struct ColumnRange {
  float low, high;
};
inline ColumnRange visible_range(const AttentionArgs& args, const KeyBlock& block, int64_t query) {
  const int64_t first = args.window > 0 ? larger(0, query - args.window + 1 - block.begin) : 0;
  return {static_cast<float>(first),
          static_cast<float>(smaller(block.end, query + 1) - block.begin)};
}
inline bool is_whole(const AttentionArgs& args, const KeyBlock& block, int64_t columns,
                     int64_t first_query, int64_t last_query) {
  return block.begin + columns <= smaller(block.end, first_query + 1) &&
         (args.window <= 0 || last_query - args.window + 1 <= block.begin);
}
inline bool is_out_of_window(const AttentionArgs& args, const KeyBlock& block,
                             int64_t first_query) {
  return args.window > 0 && block.end <= first_query - args.window + 1;
}

inline VecF masked(VecF s, ColumnRange range, int64_t column, float fill) {
  const VecF at = lane_numbers() + static_cast<float>(column);
  const VecF kept = at < range.high ? s : broadcast(fill);
  return at >= range.low ? kept : broadcast(fill);
}

// One row of scores into exp(scale * s - max); updates the running maximum and sum and returns what
// the row's output so far must be multiplied by.
inline float softmax_row(float* s, int64_t columns, bool whole, ColumnRange range, float scale,
                         float& running_max, float& running_sum) {
  VecF highest = broadcast(running_max);
  for (int64_t j = 0; j < columns; j += kLanes) {
    VecF x = load(s + j) * scale;
    if (!whole) x = masked(x, range, j, kMasked);
    store(s + j, x);
    highest = max_of(highest, x);
  }
  const float new_max = max_lanes(highest);
  VecF sum{};
  for (int64_t j = 0; j < columns; j += kLanes) {
    const VecF p = exp_of(load(s + j) - new_max);
    store(s + j, p);
    sum = sum + p;
  }
  const float factor = std::exp(running_max - new_max);
  running_sum = running_sum * factor + sum_lanes(sum);
  running_max = new_max;
  return factor;
}

// Scores of one block against one panel of queries, and the panel's output.
inline void forward_panel(const AttentionArgs& args, const QueryTask& task, const KeyBlock& block,
                          int64_t row, int rows, float* state, float* scores) {
  const int64_t dim = args.padded_dim, query = task.begin + row;
  const int64_t group = args.num_heads / args.num_kv_heads, kv_head = task.head / group;
  const float* q = args.q + (task.head * args.num_tokens + query) * dim;
  const float* kt = args.kt + kv_head * args.transposed_size + block.offset * dim;
  const float* v = args.v + (kv_head * args.num_tokens + block.begin) * dim;
  const int64_t columns = visible_columns(block, query + rows - 1);
  float *out = state + row * dim, *maxima = state + kQueryBlock * dim, *sums = maxima + kQueryBlock;
  panel(rows, columns / kLanes, dim, q, dim, 1, kt, block.width, scores, kScoreStride, false);
  const bool whole = is_whole(args, block, columns, query, query + rows - 1);
  for (int i = 0; i < rows; ++i) {
    const float factor = softmax_row(scores + i * kScoreStride, columns, whole,
                                     visible_range(args, block, query + i), args.scale,
                                     maxima[row + i], sums[row + i]);
    if (factor == 1.0f) continue;
    for (int64_t d = 0; d < dim; d += kLanes) {
      store(out + i * dim + d, load(out + i * dim + d) * factor);
    }
  }
  panel(rows, dim / kLanes, smaller(columns, block.end - block.begin), scores, kScoreStride, 1, v,
        dim, out, dim, true);
}

void attention_forward(const AttentionArgs& args, const QueryTask& task, float* scratch) {
  const int64_t dim = args.padded_dim, rows = task.end - task.begin;
  float *state = scratch, *maxima = state + kQueryBlock * dim, *sums = maxima + kQueryBlock;
  float* scores = sums + kQueryBlock;
  for (int64_t i = 0; i < kQueryBlock * dim; ++i) state[i] = 0.0f;
  for (int64_t i = 0; i < kQueryBlock; ++i) {
    maxima[i] = kMasked;
    sums[i] = 0.0f;
  }
  for (int64_t b = task.first_block; b < task.last_block; ++b) {
    const KeyBlock& block = args.blocks[b];
    if (block.begin >= task.end) break;
    if (is_out_of_window(args, block, task.begin)) continue;
    for (int64_t row = 0; row < rows; row += kTileRows) {
      const int count = static_cast<int>(smaller(kTileRows, rows - row));
      if (task.begin + row + count - 1 < block.begin) continue;
      forward_panel(args, task, block, row, count, state, scores);
    }
  }
  const int64_t out_stride = args.num_heads * args.head_dim;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t t = task.begin + i;
    float* out = args.out + t * out_stride + task.head * args.head_dim;
    const float inverse = 1.0f / sums[i];
    for (int64_t d = 0; d < args.head_dim; d += kLanes) {
      store_n(out + d, load(state + i * dim + d) * inverse, args.head_dim - d);
    }
    args.lse[task.head * args.num_tokens + t] = maxima[i] + std::log(sums[i]);
  }
}

// P = exp(scale * s - lse) and dS = scale * P * (dP - delta) of one row; zero outside the mask and
// up to `width`.
inline void backward_row(float* p, float* ds, int64_t columns, int64_t width, bool whole,
                         ColumnRange range, float scale, float lse, float delta) {
  for (int64_t j = 0; j < columns; j += kLanes) {
    VecF probability = exp_of(load(p + j) * scale - lse);
    if (!whole) probability = masked(probability, range, j, 0.0f);
    store(p + j, probability);
    store(ds + j, probability * (load(ds + j) - delta) * scale);
  }
  for (int64_t j = columns; j < width; j += kLanes) {
    store(p + j, VecF{});
    store(ds + j, VecF{});
  }
}

// One block of queries [begin, end) against one block of keys.
inline void backward_block(const AttentionArgs& args, const QueryTask& task, const KeyBlock& block,
                           int64_t begin, int64_t end, float* p, float* ds) {
  const int64_t dim = args.padded_dim, tokens = args.num_tokens;
  const int64_t kv_head = task.head / (args.num_heads / args.num_kv_heads);
  const int64_t head_at = task.head * tokens, kv_at = (kv_head * tokens + block.begin) * dim;
  const float* kt = args.kt + kv_head * args.transposed_size + block.offset * dim;
  const float* vt = args.vt + kv_head * args.transposed_size + block.offset * dim;
  const int64_t keys = block.end - block.begin;
  for (int64_t t = begin; t < end; t += kTileRows) {
    const int rows = static_cast<int>(smaller(kTileRows, end - t));
    float *p_panel = p + (t - begin) * kScoreStride, *ds_panel = ds + (t - begin) * kScoreStride;
    const int64_t columns = larger(0, visible_columns(block, t + rows - 1));
    const bool whole = is_whole(args, block, columns, t, t + rows - 1);
    const float *q = args.q + (head_at + t) * dim, *g = args.grad_out + (head_at + t) * dim;
    panel(rows, columns / kLanes, dim, q, dim, 1, kt, block.width, p_panel, kScoreStride, false);
    panel(rows, columns / kLanes, dim, g, dim, 1, vt, block.width, ds_panel, kScoreStride, false);
    for (int i = 0; i < rows; ++i) {
      backward_row(p_panel + i * kScoreStride, ds_panel + i * kScoreStride, columns, block.width,
                   whole, visible_range(args, block, t + i), args.scale, args.lse[head_at + t + i],
                   args.delta[head_at + t + i]);
    }
    panel(rows, dim / kLanes, smaller(columns, keys), ds_panel, kScoreStride, 1, args.k + kv_at,
          dim, args.dq + (head_at + t) * dim, dim, true);
  }
  const int64_t slab = (task.chunk * args.num_heads + task.head) * tokens + block.begin;
  for (int64_t j = 0; j < keys; j += kTileRows) {
    const int rows = static_cast<int>(smaller(kTileRows, keys - j));
    const int64_t from = larger(begin, block.begin + j);  // earlier queries don't see key j
    if (from >= end) break;
    const int64_t at = (from - begin) * kScoreStride + j;
    panel(rows, dim / kLanes, end - from, p + at, 1, kScoreStride,
          args.grad_out + (head_at + from) * dim, dim, args.dv + (slab + j) * dim, dim, true);
    panel(rows, dim / kLanes, end - from, ds + at, 1, kScoreStride, args.q + (head_at + from) * dim,
          dim, args.dk + (slab + j) * dim, dim, true);
  }
}

void attention_backward(const AttentionArgs& args, const QueryTask& task, float* scratch) {
  float *p = scratch, *ds = scratch + kQueryBlock * kScoreStride;
  float* dq = args.dq + (task.head * args.num_tokens + task.begin) * args.padded_dim;
  const int64_t count = (task.end - task.begin) * args.padded_dim;
  for (int64_t i = 0; i < count; ++i) dq[i] = 0.0f;
  for (int64_t b = task.first_block; b < task.last_block; ++b) {
    const KeyBlock& block = args.blocks[b];
    if (block.begin >= task.end) break;
    for (int64_t t = task.begin; t < task.end; t += kQueryBlock) {
      const int64_t end = smaller(t + kQueryBlock, task.end);
      if (end <= block.begin || is_out_of_window(args, block, t)) continue;
      backward_block(args, task, block, t, end, p, ds);
    }
  }
}

void sum_slabs(const float* src, int64_t stride, int64_t count, float* out, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    VecF sum{};
    for (int64_t s = 0; s < count; ++s) sum = sum + load_n(src + s * stride + i, n - i);
    store_n(out + i, sum, n - i);
  }
}

}  // namespace
}  // namespace hone::kernels
