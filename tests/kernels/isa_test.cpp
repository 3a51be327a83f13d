// Every instruction set this machine can run against the portable kernels, on sizes that leave
// tails.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/cpu.h"

namespace hone::kernels {
namespace {

std::vector<float> random_floats(size_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& value : x) value = normal(generator);
  return x;
}

void expect_close(const std::vector<float>& a, const std::vector<float>& b, const char* isa) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  EXPECT_LT(std::sqrt(difference / size), 1e-6) << isa;
}

TEST(Isa, ElementwiseKernelsAgreeWithPortable) {
  const int64_t rows = 5, dim = 83;
  const auto n = static_cast<size_t>(rows * dim);
  const std::vector<float> x = random_floats(2 * n, 1), g = random_floats(n, 2);
  const std::vector<float> w = random_floats(static_cast<size_t>(dim), 3);
  const auto run = [&](const KernelTable& table) {
    std::vector<float> out(6 * n), rstd(static_cast<size_t>(rows));
    const auto& k = table.f32;
    k.rms_norm_forward(x.data(), nullptr, w.data(), nullptr, out.data(), rstd.data(), rows, dim,
                       1e-5f);
    k.rms_norm_backward(x.data(), w.data(), rstd.data(), g.data(), nullptr, out.data() + n, nullptr,
                        rows, dim);
    k.swiglu_forward(x.data(), out.data() + 2 * n, rows, dim);
    k.swiglu_backward(x.data(), g.data(), out.data() + 3 * n, rows, dim);
    const DropoutKey key{.key = 5, .stream = 2, .site = 3, .threshold = 1u << 30, .keep_scale = 2};
    k.dropout(key, g.data(), out.data() + 5 * n, 7, rows * dim, false);
    return out;
  };
  const std::vector<float> expected = run(portable_kernels());
  for (const Isa isa : available_isas()) {
    expect_close(run(kernels_for(isa)), expected, kernels_for(isa).name);
  }
}

TEST(Isa, CrossEntropyAgreesWithPortable) {
  const std::vector<float> logits = random_floats(3 * 1001, 4);
  const std::vector<int64_t> labels{0, 1000, 500};
  const auto run = [&](const KernelTable& table) {
    std::vector<float> x = logits;
    std::vector<double> losses(3);
    table.f32.cross_entropy(x.data(), labels.data(), 3, 1001, 0.5f, true, losses.data());
    x.insert(x.end(), losses.begin(), losses.end());
    return x;
  };
  const std::vector<float> expected = run(portable_kernels());
  for (const Isa isa : available_isas()) {
    expect_close(run(kernels_for(isa)), expected, kernels_for(isa).name);
  }
}

// Both passes over parts of a vocabulary give what the one over the whole gives, tails and all.
TEST(Isa, CrossEntropyOfPartsAgreesWithTheWhole) {
  const int64_t vocab = 1001, cut = 397;
  const std::vector<int64_t> labels{0, 1000, 397};
  const std::vector<float> logits = random_floats(3 * 1001, 4);
  std::vector<float> expected = logits;
  std::vector<double> losses(3);
  portable_kernels().f32.cross_entropy(expected.data(), labels.data(), 3, vocab, 0.5f, true,
                                       losses.data());
  for (const Isa isa : available_isas()) {
    const auto& k = kernels_for(isa).f32;
    std::vector<float> got = logits;
    for (int64_t t = 0; t < 3; ++t) {
      float* const row = got.data() + t * vocab;
      const int64_t label = labels[static_cast<size_t>(t)];
      const int64_t low = label < cut ? label : -1, high = label < cut ? -1 : label - cut;
      double first[2], second[2];
      k.log_sums(row, &low, 1, cut, first);
      k.log_sums(row + cut, &high, 1, vocab - cut, second);
      const double log_sum = std::log(std::exp(first[0]) + std::exp(second[0]));
      EXPECT_NEAR(log_sum - first[1] - second[1], losses[static_cast<size_t>(t)], 1e-6);
      k.cross_entropy_gradient(row, &low, 1, cut, 0.5f, &log_sum);
      k.cross_entropy_gradient(row + cut, &high, 1, vocab - cut, 0.5f, &log_sum);
    }
    expect_close(got, expected, kernels_for(isa).name);
  }
}

TEST(Isa, AttentionAgreesWithPortable) {
  const int64_t tokens = 75, dim = 32, width = 80;
  const auto n = static_cast<size_t>(tokens * dim);
  const std::vector<float> q = random_floats(n, 1), k = random_floats(n, 2),
                           v = random_floats(n, 3);
  const std::vector<float> g = random_floats(n, 4),
                           delta = random_floats(static_cast<size_t>(tokens), 5);
  const auto run = [&](const KernelTable& table) {
    const auto padded = static_cast<size_t>(width * dim);
    std::vector<float> kt(padded), vt(padded), out(4 * n), lse(static_cast<size_t>(tokens));
    std::vector<float> scratch(static_cast<size_t>(forward_scratch(dim) + backward_scratch()));
    table.transpose_block(k.data(), tokens, dim, width, kt.data());
    table.transpose_block(v.data(), tokens, dim, width, vt.data());
    const KeyBlock block{0, tokens, width, 0};
    AttentionArgs args;
    args.num_tokens = tokens;
    args.num_heads = args.num_kv_heads = 1;
    args.padded_dim = args.head_dim = dim;
    args.window = 40;
    args.scale = 0.2f;
    args.blocks = &block;
    args.q = q.data();
    args.k = k.data();
    args.v = v.data();
    args.kt = kt.data();
    args.vt = vt.data();
    args.lse = lse.data();
    args.out = out.data();
    args.grad_out = g.data();
    args.delta = delta.data();
    args.dq = out.data() + n;
    args.dk = out.data() + 2 * n;
    args.dv = out.data() + 3 * n;
    const QueryTask task{0, 0, tokens, 0, 1, 0};
    table.attention_forward(args, task, scratch.data());
    table.attention_backward(args, task, scratch.data());
    return out;
  };
  const std::vector<float> expected = run(portable_kernels());
  for (const Isa isa : available_isas()) {
    expect_close(run(kernels_for(isa)), expected, kernels_for(isa).name);
  }
}

TEST(Isa, SumOfSquaresHasTheSameBitsEverywhere) {
  const std::vector<float> x = random_floats(10007, 6);
  const double expected = portable_kernels().sum_of_squares(x.data(), 10007);
  for (const Isa isa : available_isas()) {
    EXPECT_EQ(kernels_for(isa).sum_of_squares(x.data(), 10007), expected) << kernels_for(isa).name;
  }
}

TEST(Isa, Bfloat16RoundsToNearestEvenAndKeepsNaN) {
  const std::vector<float> values{1.0f, 1.00390625f, 1.01171875f, -3.3895314e38f,
                                  NAN,  0.1f,        INFINITY};
  std::vector<float> padded = values;
  padded.resize(16, 0.0f);
  for (const Isa isa : available_isas()) {
    std::vector<Bf16> in(16), out(16);
    for (size_t i = 0; i < 16; ++i) {
      uint32_t bits;
      std::memcpy(&bits, &padded[i], 4);
      in[i].bits = static_cast<uint16_t>(bits >> 16);
    }
    const std::vector<Bf16> zeros(16, Bf16{0});
    std::copy(in.begin(), in.end(), out.begin());
    kernels_for(isa).bf16.add_bias(out.data(), zeros.data(), 1, 16);
    for (size_t i = 0; i < 16; ++i) {
      if (std::isnan(padded[i])) {
        EXPECT_NE(out[i].bits & 0x7F, 0) << kernels_for(isa).name;
      } else {
        EXPECT_EQ(out[i].bits, in[i].bits) << kernels_for(isa).name << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace hone::kernels
