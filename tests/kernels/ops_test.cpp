// Norms, SwiGLU, linear with LoRA, embedding and head against the ATen composite in float64. Bounds
// are relative norms: 2e-6 for float32, 2e-2 for bfloat16.
#include <gtest/gtest.h>

#include <numeric>

#include "core/error.h"
#include "core/rng.h"
#include "kernels/dropout.h"
#include "kernels/reference.h"
#include "tests/kernels/oracle.h"

namespace hone::kernels {
namespace {

constexpr double kBound = 2e-6, kBoundBf16 = 2e-2;

double bound_of(at::ScalarType type) { return type == at::kFloat ? kBound : kBoundBf16; }

TEST(RmsNorm, ForwardAndBackwardAgreeWithFloat64) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t dim : {576, 37, 5}) {
      const at::Tensor x = oracle::rand({70, dim}, 1).to(type),
                       g = oracle::rand({70, dim}, 2).to(type);
      const Weight w = oracle::weight((1 + 0.2 * oracle::rand({dim}, 3)).to(type));
      const Weight exact_w = oracle::as_double(w);
      const at::Tensor a = oracle::leaf(x), b = oracle::leaf(x.to(at::kDouble));
      const at::Tensor y = rms_norm(a, w, 1e-5), exact = reference::rms_norm(b, exact_w, 1e-5);
      y.backward(g);
      exact.backward(g.to(at::kDouble));
      EXPECT_LT(oracle::distance(y, exact), bound_of(type)) << dim;
      EXPECT_LT(oracle::distance(a.grad(), b.grad()), bound_of(type)) << dim;
      EXPECT_LT(oracle::distance(w.grad, exact_w.grad), bound_of(type)) << dim;
    }
  }
}

TEST(AddRmsNorm, BothOutputsCarryGradientsToBothInputs) {
  const at::Tensor x = oracle::rand({65, 100}, 1), r = oracle::rand({65, 100}, 2);
  const at::Tensor gh = oracle::rand({65, 100}, 3), gy = oracle::rand({65, 100}, 4);
  const Weight w = oracle::weight(1 + 0.2 * oracle::rand({100}, 5)), exact_w = oracle::as_double(w);
  const at::Tensor a = oracle::leaf(x), b = oracle::leaf(r);
  const at::Tensor c = oracle::leaf(x.to(at::kDouble)), d = oracle::leaf(r.to(at::kDouble));
  const auto [h, y] = add_rms_norm(a, b, w, 1e-5);
  const auto [eh, ey] = reference::add_rms_norm(c, d, exact_w, 1e-5);
  ((h * gh).sum() + (y * gy).sum()).backward();
  ((eh * gh).sum() + (ey * gy).sum()).backward();
  EXPECT_LT(oracle::distance(h, eh), kBound);
  EXPECT_LT(oracle::distance(y, ey), kBound);
  EXPECT_LT(oracle::distance(a.grad(), c.grad()), kBound);
  EXPECT_LT(oracle::distance(b.grad(), d.grad()), kBound);
  EXPECT_LT(oracle::distance(w.grad, exact_w.grad), kBound);
}

TEST(AddRmsNorm, OneUsedOutputIsEnough) {
  const Weight w = oracle::weight(at::ones({8}), false);
  for (const bool use_h : {true, false}) {
    const at::Tensor a = oracle::leaf(oracle::rand({3, 8}, 1)),
                     b = oracle::leaf(oracle::rand({3, 8}, 2));
    const auto [h, y] = add_rms_norm(a, b, w, 1e-5);
    (use_h ? h : y).sum().backward();
    EXPECT_TRUE(at::equal(a.grad(), b.grad()));
  }
}

TEST(SwiGlu, ForwardAndBackwardAgreeWithFloat64) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = (3 * oracle::rand({40, 2 * 75}, 1)).to(type);
    const at::Tensor g = oracle::rand({40, 75}, 2).to(type);
    const at::Tensor a = oracle::leaf(x), b = oracle::leaf(x.to(at::kDouble));
    const at::Tensor y = swiglu(a), exact = reference::swiglu(b);
    y.backward(g);
    exact.backward(g.to(at::kDouble));
    EXPECT_LT(oracle::distance(y, exact), bound_of(type));
    EXPECT_LT(oracle::distance(a.grad(), b.grad()), bound_of(type));
  }
}

TEST(SwiGlu, LargeGatesNeitherOverflowNorLoseTheirSign) {
  const at::Tensor x = at::tensor({-200.f, 200.f, 0.f, 1.f, 1.f, 1.f}).view({1, 6});
  EXPECT_TRUE(at::allclose(swiglu(x), at::tensor({0.f, 200.f, 0.f}).view({1, 3})));
}

std::vector<Lora> loras(double dropout, at::ScalarType type) {
  std::vector<Lora> all;
  const int64_t begins[] = {0, 30, 50}, widths[] = {30, 20, 14};
  for (size_t i = 0; i < 3; ++i) {
    Lora lora;
    lora.a_RD = oracle::weight(oracle::rand({4, 60}, 10 + i).to(type));
    lora.b_OR = oracle::weight(oracle::rand({widths[i], 4}, 20 + i).to(type));
    lora.scale = 2.0;
    lora.begin = begins[i];
    lora.dropout = i == 1 ? 0.0 : dropout;
    lora.dropout_seed = 7;
    lora.dropout_step = 3;
    lora.dropout_stream = static_cast<uint32_t>(i);
    all.push_back(lora);
  }
  return all;
}

void check_linear(at::ScalarType type, bool train_base, bool with_bias, double dropout) {
  const at::Tensor x = oracle::rand({90, 60}, 1).to(type), g = oracle::rand({90, 64}, 2).to(type);
  const Weight w = oracle::weight(oracle::rand({64, 60}, 3).to(type), train_base);
  const Weight bias =
      with_bias ? oracle::weight(oracle::rand({64}, 4).to(type), train_base) : Weight{};
  const Weight exact_w = oracle::as_double(w), exact_bias = oracle::as_double(bias);
  const std::vector<Lora> adapters = loras(dropout, type);
  std::vector<Lora> exact_adapters;
  for (const Lora& lora : adapters) exact_adapters.push_back(oracle::as_double(lora));
  const at::Tensor a = oracle::leaf(x), b = oracle::leaf(x.to(at::kDouble));
  const at::Tensor y = linear(a, w, bias, adapters);
  const at::Tensor exact = reference::linear(b, exact_w, exact_bias, exact_adapters);
  y.backward(g);
  exact.backward(g.to(at::kDouble));
  const double bound = bound_of(type);
  EXPECT_LT(oracle::distance(y, exact), bound);
  EXPECT_LT(oracle::distance(a.grad(), b.grad()), bound);
  for (size_t i = 0; i < adapters.size(); ++i) {
    EXPECT_LT(oracle::distance(adapters[i].a_RD.grad, exact_adapters[i].a_RD.grad), bound) << i;
    EXPECT_LT(oracle::distance(adapters[i].b_OR.grad, exact_adapters[i].b_OR.grad), bound) << i;
  }
  if (!train_base) return;
  EXPECT_LT(oracle::distance(w.grad, exact_w.grad), bound);
  if (with_bias) {
    EXPECT_LT(oracle::distance(bias.grad, exact_bias.grad), bound);
  }
}

TEST(Linear, FullTrainingWithBiasAgreesWithFloat64) { check_linear(at::kFloat, true, true, 0.0); }
TEST(Linear, FrozenBaseWithAdaptersAgreesWithFloat64) {
  check_linear(at::kFloat, false, false, 0.0);
}
TEST(Linear, AdaptersWithDropoutAgreeWithFloat64) { check_linear(at::kFloat, false, true, 0.3); }
TEST(Linear, Bfloat16AgreesWithFloat64) { check_linear(at::kBFloat16, true, true, 0.3); }

TEST(Linear, GradientsAddUpOverCalls) {
  const Weight w = oracle::weight(oracle::rand({5, 6}, 1));
  const at::Tensor x = oracle::rand({7, 6}, 2);
  linear(x, w, {}, {}).sum().backward();
  const at::Tensor once = w.grad.clone();
  linear(x, w, {}, {}).sum().backward();
  EXPECT_TRUE(at::allclose(w.grad, 2 * once));
}

TEST(Linear, NothingTrainableNeedsNoGraph) {
  const Weight w = oracle::weight(oracle::rand({5, 6}, 1), false);
  EXPECT_FALSE(linear(oracle::rand({7, 6}, 2), w, {}, {}).requires_grad());
}

TEST(Dropout, MaskIsAFunctionOfSeedStreamStepAndElementOnly) {
  Lora lora = loras(0.25, at::kFloat)[0];
  const at::Tensor mask = dropout_factors(100, 64, lora);
  EXPECT_TRUE(at::equal(mask, dropout_factors(100, 64, lora)));
  // Rows of a larger batch start with the same elements.
  EXPECT_TRUE(at::equal(mask, dropout_factors(200, 64, lora).narrow(0, 0, 100)));
  EXPECT_NEAR(mask.eq(0).to(at::kDouble).mean().item<double>(), 0.25, 0.02);
  EXPECT_NEAR(mask.max().item<double>(), 1.0 / 0.75, 1e-6);
  for (int change = 0; change < 3; ++change) {
    Lora other = lora;
    (change == 0 ? other.dropout_seed : other.dropout_step) += 1;
    if (change == 2) other.dropout_stream += 1;
    EXPECT_FALSE(at::equal(mask, dropout_factors(100, 64, other))) << change;
  }
}

TEST(Dropout, MaskIsTheDocumentedWordOfPhilox) {
  const Lora lora = loras(0.25, at::kFloat)[2];
  const DropoutKey key = dropout_key(lora);
  const at::Tensor mask = dropout_factors(5, 37, lora).view(-1);
  for (int64_t e = 0; e < mask.numel(); ++e) {
    const auto block = static_cast<uint32_t>(e / 64 * 16 + e % 16);
    const auto words = core::philox4x32({block, 0, key.stream, key.site}, key.key);
    const bool kept = words[static_cast<size_t>(e % 64 / 16)] >= key.threshold;
    ASSERT_EQ(mask[e].item<float>() > 0, kept) << e;
  }
}

TEST(Dropout, ForwardAndBackwardUseOneMaskWhateverOtherAdaptersDo) {
  const Lora lora = loras(0.5, at::kFloat)[0];
  const at::Tensor mask = dropout_factors(11, 60, lora), x = oracle::rand({11, 60}, 1);
  EXPECT_TRUE(at::equal(dropped(x, lora), x * mask));
  const Weight w = oracle::weight(at::zeros({64, 60}), false);
  const at::Tensor alone = linear(x, w, {}, {lora});
  const at::Tensor beside = linear(x, w, {}, loras(0.5, at::kFloat));
  EXPECT_TRUE(at::allclose(alone.narrow(1, 0, 30), beside.narrow(1, 0, 30), 1e-5, 1e-5));
  const at::Tensor a = oracle::leaf(x);
  linear(a, w, {}, {lora}).sum().backward();
  EXPECT_TRUE(at::equal(a.grad().eq(0), mask.eq(0)));
}

// The adapter's x is rows [13, 24) and columns [first, first + width) of a whole of 60 columns.
TEST(Dropout, TheMaskOfAPartIsThatPartOfTheWholeMask) {
  for (const auto& [first, width] : {std::pair{0, 60}, {0, 30}, {30, 30}, {17, 5}, {59, 1}}) {
    const Lora whole = loras(0.5, at::kFloat)[0];
    Lora part = whole;
    part.dropout_first_row = 13;
    part.dropout_first_column = first;
    part.dropout_columns = 60;
    part.a_RD = oracle::weight(whole.a_RD.value.narrow(1, first, width).contiguous());
    const at::Tensor mask =
        dropout_factors(40, 60, whole).narrow(0, 13, 11).narrow(1, first, width);
    EXPECT_TRUE(at::equal(dropout_factors(11, width, part), mask)) << first;
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      const at::Tensor x = oracle::rand({11, width}, 1).to(type);
      EXPECT_TRUE(at::equal(dropped(x, part), (x.to(at::kFloat) * mask).to(type))) << first;
    }
    const at::Tensor x = oracle::leaf(oracle::rand({11, width}, 1));
    linear(x, oracle::weight(at::zeros({64, width}), false), {}, {part}).sum().backward();
    EXPECT_TRUE(at::equal(x.grad().eq(0), mask.eq(0))) << first;
  }
}

TEST(Dropout, PartsOfTheInputAddUpToTheWholeAdapter) {
  const Lora whole = loras(0.3, at::kFloat)[0];
  const at::Tensor x = oracle::rand({90, 60}, 1), g = oracle::rand({90, 64}, 2);
  const Weight none = oracle::weight(at::zeros({64, 60}), false);
  const at::Tensor input = oracle::leaf(x), expected = linear(input, none, {}, {whole});
  expected.backward(g);
  at::Tensor sum = at::zeros_like(g);
  std::vector<at::Tensor> dx, da;
  for (const int64_t first : {0, 20}) {
    const int64_t width = first == 0 ? 20 : 40;
    Lora part = whole;
    part.dropout_first_column = first;
    part.dropout_columns = 60;
    part.a_RD = oracle::weight(whole.a_RD.value.narrow(1, first, width).contiguous());
    part.b_OR = oracle::weight(whole.b_OR.value);
    const at::Tensor own = oracle::leaf(x.narrow(1, first, width));
    const at::Tensor y =
        linear(own, {none.value.narrow(1, first, width).contiguous(), {}}, {}, {part});
    y.backward(g);
    sum += y.detach();
    dx.push_back(own.grad());
    da.push_back(part.a_RD.grad);
  }
  EXPECT_LT(oracle::distance(sum, expected), kBound);
  EXPECT_LT(oracle::distance(at::cat(dx, 1), input.grad()), kBound);
  EXPECT_LT(oracle::distance(at::cat(da, 1), whole.a_RD.grad), kBound);
}

TEST(Embedding, RepeatedTokensAddUpAndRepeatBitwise) {
  const at::Tensor ids = at::tensor({3, 1, 3, 3, 0}, at::kLong);
  const Weight w = oracle::weight(oracle::rand({4, 70}, 1)), again = oracle::weight(w.value);
  const at::Tensor g = oracle::rand({5, 70}, 2);
  embedding(ids, w).backward(g);
  embedding(ids, again).backward(g);
  EXPECT_TRUE(at::equal(w.grad, again.grad));
  EXPECT_TRUE(at::equal(w.grad.select(0, 3), g.select(0, 0) + g.select(0, 2) + g.select(0, 3)));
  EXPECT_TRUE(w.grad.select(0, 2).eq(0).all().item<bool>());
  EXPECT_THROW(embedding(at::tensor({4}, at::kLong), w), core::Error);
}

void check_head(at::ScalarType type, bool train_head, bool with_lora, int64_t vocab) {
  const at::Tensor x = oracle::rand({50, 60}, 1).to(type);
  at::Tensor labels = at::arange(50, at::kLong).remainder(vocab);
  labels.narrow(0, 10, 7).fill_(-100);
  const Weight w = oracle::weight((0.2 * oracle::rand({vocab, 60}, 3)).to(type), train_head);
  const Weight exact_w = oracle::as_double(w);
  std::vector<Lora> adapters, exact_adapters;
  if (with_lora) {
    adapters.push_back(loras(0.2, type)[0]);
    adapters[0].b_OR = oracle::weight((0.1 * oracle::rand({vocab, 4}, 8)).to(type));
    exact_adapters.push_back(oracle::as_double(adapters[0]));
    adapters[0].dropout = exact_adapters[0].dropout = 0.0;
  }
  const HeadLoss got = head_loss(x, w, labels, 1.0 / 43, true, adapters);
  const HeadLoss exact =
      reference::head_loss(x.to(at::kDouble), exact_w, labels, 1.0 / 43, true, exact_adapters);
  const double bound = bound_of(type);
  EXPECT_NEAR(got.loss_sum / exact.loss_sum, 1.0, bound);
  ASSERT_EQ(got.losses.size(), exact.losses.size());
  for (size_t i = 0; i < exact.losses.size(); ++i) {
    EXPECT_NEAR(got.losses[i], exact.losses[i], bound * std::max(1.0, exact.losses[i])) << i;
  }
  EXPECT_LT(oracle::distance(got.grad_x_TD, exact.grad_x_TD), bound);
  EXPECT_EQ(got.grad_x_TD.narrow(0, 10, 7).abs().sum().item<double>(), 0.0);
  if (train_head) {
    EXPECT_LT(oracle::distance(w.grad, exact_w.grad), bound);
  }
  if (with_lora) {
    EXPECT_LT(oracle::distance(adapters[0].a_RD.grad, exact_adapters[0].a_RD.grad), bound);
    EXPECT_LT(oracle::distance(adapters[0].b_OR.grad, exact_adapters[0].b_OR.grad), bound);
  }
  EXPECT_EQ(head_loss(x, w, labels, 1.0, false, adapters).loss_sum, got.loss_sum);
}

TEST(HeadLoss, TrainedHeadAgreesWithFloat64) { check_head(at::kFloat, true, false, 1003); }
TEST(HeadLoss, FrozenHeadGivesInputGradientOnly) { check_head(at::kFloat, false, false, 64); }
TEST(HeadLoss, AdapterOnTheHeadAgreesWithFloat64) { check_head(at::kFloat, false, true, 64); }
TEST(HeadLoss, Bfloat16AgreesWithFloat64) { check_head(at::kBFloat16, true, true, 64); }

TEST(HeadLoss, ManyChunksAreOneLoss) {
  const int64_t vocab = 150000;  // a few hundred rows a chunk
  const at::Tensor x = oracle::rand({700, 4}, 1), labels = at::arange(700, at::kLong);
  const Weight w = oracle::weight(oracle::rand({vocab, 4}, 2));
  const HeadLoss whole = head_loss(x, w, labels, 1.0, true);
  double parts = 0;
  EXPECT_EQ(whole.losses.size(), 700u);
  EXPECT_NEAR(std::accumulate(whole.losses.begin(), whole.losses.end(), 0.0) / whole.loss_sum, 1.0,
              1e-12);
  const Weight again = oracle::weight(w.value);
  for (int64_t begin = 0; begin < 700; begin += 100) {
    const HeadLoss part =
        head_loss(x.narrow(0, begin, 100), again, labels.narrow(0, begin, 100), 1.0, true);
    parts += part.loss_sum;
    EXPECT_LT(oracle::distance(part.grad_x_TD, whole.grad_x_TD.narrow(0, begin, 100)), kBound);
  }
  EXPECT_NEAR(whole.loss_sum / parts, 1.0, 1e-6);
  EXPECT_LT(oracle::distance(again.grad, w.grad), kBound);
}

TEST(HeadLoss, NoTrainedTokenIsZeroLossAndZeroGradient) {
  const Weight w = oracle::weight(oracle::rand({9, 4}, 2));
  const HeadLoss loss =
      head_loss(oracle::rand({3, 4}, 1), w, at::full({3}, -100, at::kLong), 1.0, true);
  EXPECT_EQ(loss.loss_sum, 0.0);
  EXPECT_EQ(loss.grad_x_TD.abs().sum().item<double>(), 0.0);
}

TEST(HeadLoss, ANonFiniteInputGivesANonFiniteLoss) {
  at::Tensor x = oracle::rand({3, 4}, 1);
  x[1][2] = NAN;
  const Weight w = oracle::weight(oracle::rand({9, 4}, 2));
  EXPECT_FALSE(std::isfinite(head_loss(x, w, at::zeros({3}, at::kLong), 1.0, true).loss_sum));
}

TEST(HeadLoss, RefusesLabelsOutsideTheVocabulary) {
  const Weight w = oracle::weight(oracle::rand({9, 4}, 2));
  EXPECT_THROW(head_loss(oracle::rand({1, 4}, 1), w, at::full({1}, 9, at::kLong), 1.0, true),
               core::Error);
}

}  // namespace
}  // namespace hone::kernels
