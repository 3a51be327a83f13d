// The torch-free kernels, one table per instruction set. Every function works on a range its caller
// chose, in one thread.
#pragma once

#include <cstdint>

namespace hone::kernels {

struct Bf16 {  // the upper half of a float32
  uint16_t bits;
};

// Where a dropout mask comes from: element e is kept when 32 bits of Philox block e / 4, word e %
// 4, reach `threshold`.
struct DropoutKey {
  uint64_t key = 0;
  uint32_t stream = 0, site = 0;
  uint32_t threshold = 0;   // round(p * 2^32)
  float keep_scale = 1.0f;  // 1 / (1 - p)
};

struct RopeRows {  // rows of one head: RMSNorm if norm_w, then half rotation if cos
  int64_t rows = 0, head_dim = 0, padded_dim = 0;
  const float* cos = nullptr;  // [rows, head_dim / 2]
  const float* sin = nullptr;
  const float* norm_w = nullptr;  // [head_dim]
  float norm_eps = 0;
};

// A run of keys of one document; its transposed keys lie at padded_dim * offset as [padded_dim,
// width].
struct KeyBlock {
  int64_t begin = 0, end = 0, width = 0, offset = 0;
};

struct AttentionArgs {
  int64_t num_tokens = 0, num_heads = 0, num_kv_heads = 0, padded_dim = 0, head_dim = 0;
  int64_t window = 0;           // 0: none
  int64_t transposed_size = 0;  // floats of one kv head in kt / vt
  float scale = 1.0f;
  const KeyBlock* blocks = nullptr;
  const float *q = nullptr, *k = nullptr, *v = nullptr;  // [H or K, T, padded_dim]
  const float *kt = nullptr, *vt = nullptr;              // per kv head, blocks as above
  float* lse = nullptr;                                  // [H, T]
  float* out = nullptr;                                  // [T, H * head_dim], forward
  const float* grad_out = nullptr;                       // [H, T, padded_dim]
  const float* delta = nullptr;                          // [H, T]
  float* dq = nullptr;                                   // [H, T, padded_dim]
  float *dk = nullptr, *dv = nullptr;                    // [chunks, H, T, padded_dim], zeroed
};

// Queries [begin, end) of one head and one document, whose key blocks are blocks[first_block,
// last_block).
struct QueryTask {
  int64_t head = 0, begin = 0, end = 0, first_block = 0, last_block = 0, chunk = 0;
};

constexpr int64_t kQueryBlock = 96;
constexpr int64_t kKeyBlock = 128;
// Row length of a block of scores: not a power of two, or walking down a column would use a few
// cache sets only.
constexpr int64_t kScoreStride = kKeyBlock + 16;
constexpr int64_t kMaxLanes = 16;

// Floats of scratch one thread needs.
constexpr int64_t forward_scratch(int64_t padded_dim) {
  return kQueryBlock * (padded_dim + 2) + 8 * kScoreStride;
}
constexpr int64_t backward_scratch() { return 2 * kQueryBlock * kScoreStride; }

template <typename T>
struct TypedKernels {
  // h = x + residual (both null for a plain norm), y = h * rstd * w.
  void (*rms_norm_forward)(const T* x, const T* residual, const T* w, T* h, T* y, float* rstd,
                           int64_t rows, int64_t dim, float eps);
  // dx from gy and, if not null, gh; dw (float [dim], may be null) is added to.
  void (*rms_norm_backward)(const T* x, const T* w, const float* rstd, const T* gy, const T* gh,
                            T* dx, float* dw, int64_t rows, int64_t dim);
  void (*swiglu_forward)(const T* gate_up, T* y, int64_t rows, int64_t width);
  void (*swiglu_backward)(const T* gate_up, const T* gy, T* grad, int64_t rows, int64_t width);
  // Strided rows of one head into float rows of padded_dim, zero filled.
  void (*rope_forward)(const RopeRows& shape, const T* src, int64_t src_stride, float* dst);
  // The transpose of the above; src is its input again. dnorm_w (float [head_dim], may be null) is
  // added to.
  void (*rope_backward)(const RopeRows& shape, const float* grad, const T* src, int64_t src_stride,
                        T* dst, int64_t dst_stride, float* dnorm_w);
  // dot of two strided rows each, into out[rows].
  void (*row_dots)(const T* a, const T* b, int64_t stride, int64_t rows, int64_t dim, float* out);
  // Negative log likelihood of each row; if want_grad, logits become grad_scale * (softmax -
  // onehot).
  void (*cross_entropy)(T* logits, const int64_t* labels, int64_t rows, int64_t vocab,
                        float grad_scale, bool want_grad, double* losses);
  // The same where a rank has a part of the vocabulary; labels count from its first, -1 is another
  // rank's. First: a pair a row, log of the sum of the exponentials here (-inf of none), and the
  // label's logit (0 if it is another rank's).
  void (*log_sums)(const T* logits, const int64_t* labels, int64_t rows, int64_t vocab,
                   double* pairs);
  // Then, from the log-sums over all ranks: logits become grad_scale * (softmax - onehot).
  void (*cross_entropy_gradient)(T* logits, const int64_t* labels, int64_t rows, int64_t vocab,
                                 float grad_scale, const double* log_sums);
  // dst (+)= src * mask for elements [begin, begin + count); src and dst point at element `begin`.
  void (*dropout)(const DropoutKey& key, const T* src, T* dst, int64_t begin, int64_t count,
                  bool accumulate);
  void (*add_bias)(T* y, const T* bias, int64_t rows, int64_t dim);
  void (*add_columns)(const T* g, float* sum, int64_t rows, int64_t stride, int64_t dim);
  // dst += src in float32
  void (*accumulate)(const T* src, float* dst, int64_t count);
};

struct AdamWConstants {
  float decay, beta1, beta2, one_minus_beta1, one_minus_beta2, step_size, inverse_correction2_sqrt,
      epsilon, grad_scale;
};

struct KernelTable {
  const char* name;
  TypedKernels<float> f32;
  TypedKernels<Bf16> bf16;
  void (*transpose_block)(const float* src, int64_t rows, int64_t dim, int64_t width, float* dst);
  void (*attention_forward)(const AttentionArgs& args, const QueryTask& task, float* scratch);
  void (*attention_backward)(const AttentionArgs& args, const QueryTask& task, float* scratch);
  // out (+)= sum over `count` slabs of `stride` floats apart.
  void (*sum_slabs)(const float* src, int64_t stride, int64_t count, float* out, int64_t n);
  void (*adamw)(const AdamWConstants& constants, float* p, const float* g, float* m, float* v,
                int64_t count);
  double (*sum_of_squares)(const float* x, int64_t count);
};

template <typename T>
const TypedKernels<T>& typed(const KernelTable& table);
template <>
inline const TypedKernels<float>& typed<float>(const KernelTable& table) {
  return table.f32;
}
template <>
inline const TypedKernels<Bf16>& typed<Bf16>(const KernelTable& table) {
  return table.bf16;
}

const KernelTable& portable_kernels();
const KernelTable& avx2_kernels();
const KernelTable& avx512_kernels();

}  // namespace hone::kernels
