// The own matrix multiplication against float64, on shapes with edges in every direction and both
// transposes.
#include "kernels/gemm.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <omp.h>

#include "kernels/simd/gemm_avx512.h"

namespace hone::kernels {
namespace {

bool has_avx512() { return __builtin_cpu_supports("avx512f"); }

at::Tensor multiply_own(const at::Tensor& a, const at::Tensor& b, const at::Tensor& start,
                        int num_threads) {
  at::Tensor c = start.defined() ? start.clone() : at::empty({a.size(0), b.size(1)}, at::kFloat);
  at::Tensor scratch = at::empty({gemm_avx512_scratch(b.size(1), num_threads)}, at::kFloat);
  gemm_avx512({a.const_data_ptr<float>(), a.size(0), a.size(1), a.stride(0), a.stride(1)},
              {b.const_data_ptr<float>(), b.size(0), b.size(1), b.stride(0), b.stride(1)},
              c.mutable_data_ptr<float>(), c.stride(0), start.defined(),
              scratch.mutable_data_ptr<float>(), num_threads);
  return c;
}

TEST(Gemm, OwnKernelAgreesWithFloat64OnEveryEdgeAndTranspose) {
  if (!has_avx512()) return;  // gemm_route() never picks it there: see RouteIsSupported
  const int64_t shapes[][3] = {{32, 32, 32},   {33, 47, 35},     {12, 384, 32},
                               {200, 385, 65}, {195, 770, 3105}, {1, 5, 1}};
  for (const auto& [rows, inner, columns] : shapes) {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        const at::Tensor a = transpose_a ? at::randn({inner, rows}).t() : at::randn({rows, inner});
        const at::Tensor b =
            transpose_b ? at::randn({columns, inner}).t() : at::randn({inner, columns});
        const at::Tensor start = at::randn({rows, columns});
        const at::Tensor exact = at::mm(a.to(at::kDouble), b.to(at::kDouble));
        const double bound = 1e-6 * std::sqrt(static_cast<double>(inner)) * 8;
        EXPECT_LT((multiply_own(a, b, {}, 2) - exact).abs().max().item<double>(), bound);
        EXPECT_LT((multiply_own(a, b, start, 2) - exact - start).abs().max().item<double>(), bound);
      }
    }
  }
}

TEST(Gemm, OwnKernelGivesTheSameBitsForAnyNumberOfThreads) {
  if (!has_avx512()) return;
  const at::Tensor a = at::randn({301, 555}), b = at::randn({99, 555}).t();
  EXPECT_TRUE(at::equal(multiply_own(a, b, {}, 1), multiply_own(a, b, {}, 4)));
}

TEST(Gemm, RouteIsSupportedAndRoutedProductsAreRight) {
  if (gemm_route() == GemmRoute::kOwnAvx512) {
    EXPECT_TRUE(has_avx512());
  }
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    const at::Tensor a = at::randn({40, 70}).to(dtype), b = at::randn({70, 50}).to(dtype);
    at::Tensor c = at::ones({40, 50}, a.options());
    gemm(c, a, b, true);
    EXPECT_TRUE(at::allclose(c, at::mm(a, b) + 1, 1e-4, 1e-4));
    EXPECT_TRUE(at::allclose(gemm(a, b), at::mm(a, b), 1e-4, 1e-4));
  }
}

}  // namespace
}  // namespace hone::kernels
