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

// out[depth][width] = in[i][k] for i < count, zero beyond: one panel of `width` rows (or columns)
// of an operand, where element (i, k) is at in[i * stride + k * depth_stride].
template <int64_t width>
void pack_panel(const float* in, int64_t stride, int64_t depth_stride, int64_t count, int64_t depth,
                float* out) {
  if (stride == 1 && count == width) {
    for (int64_t k = 0; k < depth; ++k) std::copy_n(in + k * depth_stride, width, out + k * width);
    return;
  }
  for (int64_t i = 0; i < width; ++i) {
    for (int64_t k = 0; k < depth; ++k) {
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
  const int64_t num_blocks = (rows + kBlockRows - 1) / kBlockRows;
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
          const int64_t i0 = block * kBlockRows, block_rows = std::min(kBlockRows, rows - i0);
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
