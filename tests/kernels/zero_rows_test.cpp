// A rank of the tensor axis may have no row: every operator forward and backward with none.
#include <gtest/gtest.h>

#include "kernels/reference.h"
#include "tests/kernels/oracle.h"

namespace hone::kernels {
namespace {

using oracle::leaf;

at::Tensor none(int64_t columns, at::ScalarType type) {
  return leaf(at::empty({0, columns}, at::TensorOptions(type)));
}

// float64 goes to the reference.
constexpr at::ScalarType kTypes[] = {at::kFloat, at::kBFloat16, at::kDouble};

Weight weight_of(at::IntArrayRef shape, at::ScalarType type) {
  return oracle::weight(oracle::rand(shape, 1).to(type));
}

void expect_zero(const Weight& weight) {
  EXPECT_EQ(weight.grad.abs().sum().item<double>(), 0.0) << weight.value.scalar_type();
}

void expect_rows(const at::Tensor& y, int64_t columns) {
  EXPECT_EQ(y.sizes(), (std::vector<int64_t>{0, columns}));
}

void backward(const at::Tensor& y) { y.backward(at::empty_like(y)); }

TEST(ZeroRows, Norms) {
  for (const auto type : kTypes) {
    const at::Tensor x = none(20, type), a = none(20, type), b = none(20, type);
    const Weight w = weight_of({20}, type);
    const at::Tensor y = rms_norm(x, w, 1e-5);
    expect_rows(y, 20);
    backward(y);
    expect_rows(x.grad(), 20);
    const auto [h, z] = add_rms_norm(a, b, w, 1e-5);
    expect_rows(h, 20);
    expect_rows(z, 20);
    (h.sum() + z.sum()).backward();
    expect_rows(a.grad(), 20);
    expect_rows(b.grad(), 20);
    expect_zero(w);
  }
}

TEST(ZeroRows, SwiGlu) {
  for (const auto type : kTypes) {
    const at::Tensor x = none(2 * 30, type), y = swiglu(x);
    expect_rows(y, 30);
    backward(y);
    expect_rows(x.grad(), 60);
  }
}

TEST(ZeroRows, LinearWithBiasAndAdapters) {
  for (const auto type : kTypes) {
    for (const double dropout : {0.0, 0.5}) {
      const at::Tensor x = none(60, type);
      const Weight w = weight_of({64, 60}, type), bias = weight_of({64}, type);
      Lora lora;
      lora.a_RD = weight_of({4, 60}, type);
      lora.b_OR = weight_of({64, 4}, type);
      lora.dropout = dropout;
      Lora part = lora;
      part.dropout_columns = 120;
      const at::Tensor y = linear(x, w, bias, {lora, part});
      expect_rows(y, 64);
      backward(y);
      expect_rows(x.grad(), 60);
      for (const Weight& weight : {w, bias, lora.a_RD, lora.b_OR}) expect_zero(weight);
    }
  }
}

TEST(ZeroRows, Embedding) {
  for (const auto type : kTypes) {
    const Weight w = weight_of({9, 20}, type);
    const at::Tensor y = embedding(at::empty({0}, at::kLong), w);
    expect_rows(y, 20);
    backward(y);
    expect_zero(w);
  }
}

TEST(ZeroRows, HeadLoss) {
  const VocabShard shard{
      .begin = 0, .whole = 18, .num_ranks = 2, .all_gather = [](const at::Tensor& /*pairs*/) {
        ADD_FAILURE() << "there is nothing to gather";
        return at::Tensor();
      }};
  for (const auto type : kTypes) {
    for (const VocabShard* const vocab : {static_cast<const VocabShard*>(nullptr), &shard}) {
      const Weight w = weight_of({9, 20}, type);
      const HeadLoss loss =
          head_loss(none(20, type).detach(), w, at::empty({0}, at::kLong), 1.0, true, {}, vocab);
      EXPECT_EQ(loss.loss_sum, 0.0);
      EXPECT_TRUE(loss.losses.empty());
      expect_rows(loss.grad_x_TD, 20);
      expect_zero(w);
    }
  }
}

TEST(ZeroRows, Attention) {
  const AttentionShape shape{.num_heads = 4, .num_kv_heads = 2, .head_dim = 8, .scale = 0.3};
  for (const auto type : kTypes) {
    for (const auto& cu_doc_lens : {std::vector<int32_t>{0}, std::vector<int32_t>{0, 0}}) {
      const at::Tensor x = none(8 * 8, type), table = at::empty({0, 4}, at::kFloat);
      const Weight q_norm = weight_of({8}, type), k_norm = weight_of({8}, type);
      const at::Tensor y = attention(x, table, table, cu_doc_lens, shape, q_norm, k_norm, 1e-5);
      expect_rows(y, 32);
      backward(y);
      expect_rows(x.grad(), 64);
      expect_zero(q_norm);
      expect_zero(k_norm);
    }
  }
}

}  // namespace
}  // namespace hone::kernels
