#include "kernels/simd/gemm_avx512.h"

#include <immintrin.h>
#include <omp.h>

#include <algorithm>

namespace hone::kernels {
namespace {

// Register tile: 12 x 2 accumulators of 16 floats leave 8 of the 32 registers to the operands. A
// packed column panel (kDepth x kTileColumns) fits the first-level cache, a packed row block the
// second, the packed columns the third.
constexpr int64_t kTileRows = 12, kTileColumns = 32, kDepth = 384, kBlockRows = 192,
                  kBlockColumns = 3072;
constexpr int64_t kBlockScratch = kDepth * (kBlockRows + kTileRows);

struct Tile {
  float* data;
  int64_t ldc, rows, columns;
  bool accumulate;
};

// tile (+)= a_panel[depth][kTileRows]^T b_panel[depth][kTileColumns], a full tile.
void multiply_tile(int64_t depth, const float* a, const float* b, float* c, int64_t ldc,
                   bool accumulate) {
  __m512 left[kTileRows], right[kTileRows];
#pragma GCC unroll 12
  for (int i = 0; i < kTileRows; ++i) left[i] = right[i] = _mm512_setzero_ps();
  // The tile's place in the result is long out of the caches; fetch it while the products run.
  for (int i = 0; i < kTileRows; ++i) {
    __builtin_prefetch(c + i * ldc, 1);
    __builtin_prefetch(c + i * ldc + 16, 1);
  }
  for (int64_t k = 0; k < depth; ++k, a += kTileRows, b += kTileColumns) {
    const __m512 b_left = _mm512_load_ps(b), b_right = _mm512_load_ps(b + 16);
#pragma GCC unroll 12
    for (int i = 0; i < kTileRows; ++i) {
      const __m512 x = _mm512_set1_ps(a[i]);
      left[i] = _mm512_fmadd_ps(x, b_left, left[i]);
      right[i] = _mm512_fmadd_ps(x, b_right, right[i]);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < kTileRows; ++i) {
    float* row = c + i * ldc;
    if (accumulate) {
      left[i] = _mm512_add_ps(left[i], _mm512_loadu_ps(row));
      right[i] = _mm512_add_ps(right[i], _mm512_loadu_ps(row + 16));
    }
    _mm512_storeu_ps(row, left[i]);
    _mm512_storeu_ps(row + 16, right[i]);
  }
}

// A tile at the right or lower edge is computed whole beside the matrix, then its inside is copied.
void multiply_edge(int64_t depth, const float* a, const float* b, const Tile& tile) {
  alignas(64) float whole[kTileRows * kTileColumns];
  multiply_tile(depth, a, b, whole, kTileColumns, false);
  for (int64_t i = 0; i < tile.rows; ++i) {
    for (int64_t j = 0; j < tile.columns; ++j) {
      float& target = tile.data[i * tile.ldc + j];
      target = (tile.accumulate ? target : 0.0f) + whole[i * kTileColumns + j];
    }
  }
}

// One butterfly stage of a 16 x 16 transpose: rows i and i + step exchange the lanes that differ in
// bit `step`.
template <int step>
inline void exchange(__m512* rows) {
  alignas(64) static constexpr auto kIndex = [] {
    struct {
      int low[16], high[16];
    } index{};
    for (int lane = 0; lane < 16; ++lane) {
      const bool upper = (lane & step) != 0;
      index.low[lane] = upper ? 16 + lane - step : lane;
      index.high[lane] = upper ? 16 + lane : lane + step;
    }
    return index;
  }();
  const __m512i low = _mm512_load_si512(kIndex.low), high = _mm512_load_si512(kIndex.high);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    if ((i & step) != 0) continue;
    const __m512 first = rows[i], second = rows[i + step];
    rows[i] = _mm512_permutex2var_ps(first, low, second);
    rows[i + step] = _mm512_permutex2var_ps(first, high, second);
  }
}

// out[k * width + i] = in[i * stride + k] for i < count <= 16 and k < 16, zero for other i < lanes.
inline void pack_square(const float* in, int64_t stride, int64_t count, int64_t width,
                        __mmask16 lanes, float* out) {
  __m512 rows[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    rows[i] = i < count ? _mm512_loadu_ps(in + i * stride) : _mm512_setzero_ps();
  }
  exchange<8>(rows);
  exchange<4>(rows);
  exchange<2>(rows);
  exchange<1>(rows);
#pragma GCC unroll 16
  for (int k = 0; k < 16; ++k) _mm512_mask_storeu_ps(out + k * width, lanes, rows[k]);
}

// out[depth][width] = in[i][k] for i < count, zero beyond: one panel of `width` rows (or columns)
// of an operand, where element (i, k) is at in[i * stride + k * depth_stride].
template <int64_t width>
void pack_panel(const float* in, int64_t stride, int64_t depth_stride, int64_t count, int64_t depth,
                float* out) {
  if (stride == 1 && count == width) {
    for (int64_t k = 0; k < depth; ++k) std::copy_n(in + k * depth_stride, width, out + k * width);
    return;
  }
  const int64_t squares = depth_stride == 1 ? depth / 16 * 16 : 0;
  for (int64_t k = 0; k < squares; k += 16) {
    for (int64_t i = 0; i < width; i += 16) {
      const int64_t lanes = std::min<int64_t>(16, width - i);
      pack_square(in + i * stride + k, stride, std::min(lanes, count - i), width,
                  static_cast<__mmask16>((1 << lanes) - 1), out + k * width + i);
    }
  }
  for (int64_t i = 0; i < width; ++i) {
    for (int64_t k = squares; k < depth; ++k) {
      out[k * width + i] = i < count ? in[i * stride + k * depth_stride] : 0.0f;
    }
  }
}

}  // namespace

int64_t gemm_avx512_scratch(int64_t columns, int num_threads) {
  return kDepth * (std::min(columns, kBlockColumns) + kTileColumns) + num_threads * kBlockScratch;
}

void gemm_avx512(const ConstMatrix& a, const ConstMatrix& b, float* c, int64_t ldc, bool accumulate,
                 float* scratch, int num_threads) {
  const int64_t rows = a.rows, columns = b.columns, inner = a.columns;
  // As many blocks for each thread, of about the same size.
  const int64_t most = (rows + kBlockRows - 1) / kBlockRows;
  const int64_t num_blocks = (most + num_threads - 1) / num_threads * num_threads;
  const int64_t rows_per_block =
      ((rows + num_blocks - 1) / num_blocks + kTileRows - 1) / kTileRows * kTileRows;
  float* const b_panels = scratch;
  float* const a_panels_of_threads =
      scratch + kDepth * (std::min(columns, kBlockColumns) + kTileColumns);

#pragma omp parallel num_threads(num_threads)
  {
    float* a_panels =
        a_panels_of_threads + omp_get_thread_num() * kDepth * (kBlockRows + kTileRows);
    for (int64_t j0 = 0; j0 < columns; j0 += kBlockColumns) {
      const int64_t block_columns = std::min(kBlockColumns, columns - j0);
      const int64_t num_panels = (block_columns + kTileColumns - 1) / kTileColumns;
      for (int64_t k0 = 0; k0 < inner; k0 += kDepth) {
        const int64_t depth = std::min(kDepth, inner - k0);
#pragma omp for schedule(static)
        for (int64_t panel = 0; panel < num_panels; ++panel) {
          const int64_t j = panel * kTileColumns;
          pack_panel<kTileColumns>(
              b.data + k0 * b.row_stride + (j0 + j) * b.column_stride, b.column_stride,
              b.row_stride, std::min(kTileColumns, block_columns - j), depth, b_panels + j * depth);
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t block = 0; block < num_blocks; ++block) {
          const int64_t i0 = block * rows_per_block,
                        block_rows = std::min(rows_per_block, rows - i0);
          for (int64_t i = 0; i < block_rows; i += kTileRows) {
            pack_panel<kTileRows>(a.data + (i0 + i) * a.row_stride + k0 * a.column_stride,
                                  a.row_stride, a.column_stride,
                                  std::min(kTileRows, block_rows - i), depth, a_panels + i * depth);
          }
          for (int64_t j = 0; j < block_columns; j += kTileColumns) {
            for (int64_t i = 0; i < block_rows; i += kTileRows) {
              const Tile tile{c + (i0 + i) * ldc + j0 + j, ldc, std::min(kTileRows, block_rows - i),
                              std::min(kTileColumns, block_columns - j), accumulate || k0 > 0};
              const float* a_panel = a_panels + i * depth;
              const float* b_panel = b_panels + j * depth;
              if (tile.rows == kTileRows && tile.columns == kTileColumns) {
                multiply_tile(depth, a_panel, b_panel, tile.data, ldc, tile.accumulate);
              } else {
                multiply_edge(depth, a_panel, b_panel, tile);
              }
            }
          }
        }
      }
    }
  }
}

}  // namespace hone::kernels
