#include "kernels/optimizer.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "tests/kernels/oracle.h"

namespace hone::kernels {
namespace {

TEST(AdamW, TwentyStepsAgreeWithFloat64) {
  at::Tensor p = oracle::rand({100003}, 1), m = at::zeros_like(p), v = at::zeros_like(p);
  at::Tensor exact = p.to(at::kDouble), em = at::zeros_like(exact), ev = at::zeros_like(exact);
  AdamW options{.learning_rate = 1e-2, .weight_decay = 0.1, .grad_scale = 0.5};
  for (options.step = 1; options.step <= 20; ++options.step) {
    const at::Tensor g = oracle::rand({100003}, 100 + static_cast<uint64_t>(options.step));
    adamw_update(options, p, g, m, v);
    const at::Tensor wide = g.to(at::kDouble);
    adamw_update(options, exact, wide, em, ev);
  }
  EXPECT_LT(oracle::distance(p, exact), 1e-6);
  EXPECT_LT(oracle::distance(v, ev), 1e-6);
}

TEST(AdamW, FirstStepMovesByTheLearningRate) {
  at::Tensor p = at::ones({3}), m = at::zeros({3}), v = at::zeros({3});
  const at::Tensor g = at::tensor({5.f, -0.1f, 0.f});
  adamw_update({.learning_rate = 0.1, .weight_decay = 0.5}, p, g, m, v);
  EXPECT_TRUE(at::allclose(p, at::tensor({0.85f, 1.05f, 0.95f}), 1e-5, 1e-6));
}

TEST(AdamW, AnElementDoesNotDependOnWhereItLies) {
  const at::Tensor p = oracle::rand({1000}, 1), g = oracle::rand({1000}, 2);
  at::Tensor whole = p.clone(), m = at::zeros({1000}), v = at::zeros({1000});
  adamw_update({.learning_rate = 0.1}, whole, g, m, v);
  for (const int64_t begin : {1, 333, 995}) {
    at::Tensor part = p.narrow(0, begin, 5).clone(), pm = at::zeros({5}), pv = at::zeros({5});
    adamw_update({.learning_rate = 0.1}, part, g.narrow(0, begin, 5), pm, pv);
    EXPECT_TRUE(at::equal(part, whole.narrow(0, begin, 5)));
  }
}

TEST(SumOfSquares, SameBitsForAnyThreadsAndCloseToFloat64) {
  const at::Tensor x = oracle::rand({300007}, 1);
  const int threads = at::get_num_threads();
  const double sum = sum_of_squares(x);
  at::set_num_threads(threads + 2);
  EXPECT_EQ(sum, sum_of_squares(x));
  at::set_num_threads(1);
  EXPECT_EQ(sum, sum_of_squares(x));
  at::set_num_threads(threads);
  EXPECT_NEAR(sum / x.to(at::kDouble).square().sum().item<double>(), 1.0, 1e-13);
}

TEST(SumOfSquares, NonFiniteElementsShow) {
  for (const double bad : {INFINITY, -INFINITY, NAN}) {
    at::Tensor x = at::zeros({70000});
    x[69999] = bad;
    EXPECT_FALSE(std::isfinite(sum_of_squares(x)));
  }
}

}  // namespace
}  // namespace hone::kernels
