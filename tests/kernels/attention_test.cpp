// Attention against the ATen composite in float64. Bounds are relative norms: 2e-6 for float32,
// 2e-2 for bfloat16.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "kernels/reference.h"
#include "tests/kernels/oracle.h"

namespace hone::kernels {
namespace {

struct Case {
  const char* name;
  std::vector<int32_t> cu_doc_lens;
  int64_t heads, kv_heads, head_dim, window;
  bool qk_norm;
};

struct Result {
  at::Tensor out, dqkv, dq_norm, dk_norm;
};

Result run(const Case& c, const at::Tensor& qkv, const at::Tensor& grad, bool exact) {
  const auto type = qkv.scalar_type();
  const AttentionShape shape{c.heads, c.kv_heads, c.head_dim,
                             1.0 / std::sqrt(static_cast<double>(c.head_dim)), c.window};
  const oracle::Rope rope = oracle::rope(c.cu_doc_lens, c.head_dim);
  Weight q_norm, k_norm;
  if (c.qk_norm) {
    q_norm = oracle::weight((1.0 + 0.1 * oracle::rand({c.head_dim}, 5)).to(type));
    k_norm = oracle::weight((1.0 + 0.1 * oracle::rand({c.head_dim}, 6)).to(type));
  }
  const at::Tensor x = oracle::leaf(qkv);
  const at::Tensor out =
      exact
          ? reference::attention(x, rope.cos, rope.sin, c.cu_doc_lens, shape, q_norm, k_norm, 1e-6)
          : attention(x, rope.cos, rope.sin, c.cu_doc_lens, shape, q_norm, k_norm, 1e-6);
  out.backward(grad);
  return {out.detach(), x.grad(), q_norm.grad, k_norm.grad};
}

std::vector<Case> cases() {
  return {
      {"one document, SmolLM2 heads", {0, 300}, 9, 3, 64, 0, false},
      {"several documents, some of one token", {0, 1, 2, 130, 131, 260, 300}, 6, 2, 64, 0, false},
      {"head size 128", {0, 100, 257}, 4, 4, 128, 0, false},
      {"head size 80", {0, 100, 257}, 4, 1, 80, 0, false},
      {"odd head size", {0, 3, 150}, 2, 1, 36, 0, false},
      {"sliding window", {0, 200, 500}, 4, 2, 64, 70, false},
      {"window of one", {0, 33}, 2, 2, 16, 1, false},
      {"norm of q and k", {0, 90, 200}, 4, 2, 64, 0, true},
      {"everything", {0, 1, 250, 400}, 6, 2, 96, 130, true}};
}

at::Tensor input(const Case& c, uint64_t seed) {
  return oracle::rand({c.cu_doc_lens.back(), (c.heads + 2 * c.kv_heads) * c.head_dim}, seed);
}

at::Tensor output_grad(const Case& c) {
  return oracle::rand({c.cu_doc_lens.back(), c.heads * c.head_dim}, 9);
}

void expect_near(const Result& got, const Result& exact, const Case& c, double bound) {
  EXPECT_LT(oracle::distance(got.out, exact.out), bound) << c.name;
  // One slot at a time: a mistake in k must not hide behind a larger q or v.
  const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  EXPECT_LT(oracle::distance(got.dqkv.narrow(1, 0, q), exact.dqkv.narrow(1, 0, q)), bound)
      << c.name;
  EXPECT_LT(oracle::distance(got.dqkv.narrow(1, q, kv), exact.dqkv.narrow(1, q, kv)), bound)
      << c.name;
  EXPECT_LT(oracle::distance(got.dqkv.narrow(1, q + kv, kv), exact.dqkv.narrow(1, q + kv, kv)),
            bound)
      << c.name;
  if (c.qk_norm) {
    EXPECT_LT(oracle::distance(got.dq_norm, exact.dq_norm), bound) << c.name;
    EXPECT_LT(oracle::distance(got.dk_norm, exact.dk_norm), bound) << c.name;
  }
}

TEST(Attention, ForwardAndBackwardAgreeWithFloat64) {
  for (const Case& c : cases()) {
    if (c.window == 1) continue;  // dq and dk are exactly zero: see below
    const at::Tensor qkv = input(c, 1), grad = output_grad(c);
    const Result exact = run(c, qkv.to(at::kDouble), grad.to(at::kDouble), true);
    expect_near(run(c, qkv, grad, false), exact, c, 2e-6);
  }
}

TEST(Attention, WindowOfOneCopiesTheValues) {
  const Case c = cases()[6];
  const at::Tensor qkv = input(c, 1), grad = output_grad(c);
  const Result got = run(c, qkv, grad, false);
  EXPECT_TRUE(at::allclose(got.out, qkv.narrow(1, 64, 32)));
  EXPECT_LT(got.dqkv.narrow(1, 0, 64).abs().max().item<double>(), 1e-6);
  EXPECT_TRUE(at::allclose(got.dqkv.narrow(1, 64, 32), grad));
}

TEST(Attention, Bfloat16AgreesWithFloat64OfTheSameInput) {
  for (const size_t i : {size_t{0}, size_t{1}, size_t{8}}) {
    const Case c = cases()[i];
    const at::Tensor qkv = input(c, 1).to(at::kBFloat16), grad = output_grad(c).to(at::kBFloat16);
    const Result exact = run(c, qkv.to(at::kDouble), grad.to(at::kDouble), true);
    expect_near(run(c, qkv, grad, false), exact, c, 2e-2);
  }
}

TEST(Attention, ADocumentDoesNotDependOnItsNeighbours) {
  const Case c = cases()[1], alone{"alone", {0, 128}, 6, 2, 64, 0, false};
  const at::Tensor qkv = input(c, 1), grad = output_grad(c);
  const Result whole = run(c, qkv, grad, false);
  const Result part = run(alone, qkv.narrow(0, 2, 128).contiguous(), grad.narrow(0, 2, 128), false);
  EXPECT_LT(oracle::distance(part.out, whole.out.narrow(0, 2, 128)), 1e-6);
  EXPECT_LT(oracle::distance(part.dqkv, whole.dqkv.narrow(0, 2, 128)), 1e-6);
}

TEST(Attention, RepeatsBitwiseAndAgreesAcrossThreadCounts) {
  const Case c = cases()[0];
  const at::Tensor qkv = input(c, 1), grad = output_grad(c);
  const Result first = run(c, qkv, grad, false), second = run(c, qkv, grad, false);
  EXPECT_TRUE(at::equal(first.dqkv, second.dqkv));
  const int threads = at::get_num_threads();
  at::set_num_threads(threads == 1 ? 3 : 1);
  const Result other = run(c, qkv, grad, false);
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(first.out, other.out));
  EXPECT_LT(oracle::distance(other.dqkv, first.dqkv), 1e-6);
}

TEST(Attention, RefusesOffsetsAndTablesThatDoNotFit) {
  Case c = cases()[0];
  const at::Tensor qkv = input(c, 1), grad = output_grad(c);
  c.cu_doc_lens = {0, 299};
  EXPECT_THROW(run(c, qkv, grad, false), core::Error);
}

}  // namespace
}  // namespace hone::kernels
