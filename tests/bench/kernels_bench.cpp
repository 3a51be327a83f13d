// Speed of the operators on the shapes of SmolLM2-135M (T = 1024, D = 576, F = 1536, V = 49152, 9
// query and 3 key heads of 64): `kernels_bench --benchmark_filter=Gemm`. The FLOP/s counter counts
// the causal half of attention.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include "kernels/allocator.h"
#include "kernels/gemm.h"
#include "kernels/ops.h"
#include "kernels/optimizer.h"

namespace hone::kernels {
namespace {

constexpr int64_t kTokens = 1024, kHidden = 576, kWidth = 1536, kVocab = 49152;

void set_flops(benchmark::State& state, double flops) {
  state.counters["FLOP/s"] = benchmark::Counter(flops * static_cast<double>(state.iterations()),
                                                benchmark::Counter::kIsRate);
}

enum class Product { kForward, kInputGrad, kWeightGrad };

// The three products of a linear layer with `out` outputs and `in` inputs.
void run_gemm(benchmark::State& state, bool own) {
  const auto product = static_cast<Product>(state.range(0));
  const int64_t out = state.range(1), in = state.range(2);
  const at::Tensor x = at::randn({kTokens, in}), g = at::randn({kTokens, out});
  const at::Tensor w = at::randn({out, in});
  at::Tensor a = x, b = w.t();
  if (product == Product::kInputGrad) a = g, b = w;
  if (product == Product::kWeightGrad) a = g.t(), b = x;
  at::Tensor c = at::zeros({a.size(0), b.size(1)});
  for (auto _ : state) {
    if (own) {
      gemm(c, a, b, product == Product::kWeightGrad);
    } else if (product == Product::kWeightGrad) {
      c.addmm_(a, b);
    } else {
      at::mm_out(c, a, b);
    }
  }
  set_flops(state, 2.0 * static_cast<double>(kTokens * in * out));
}
void GemmRouted(benchmark::State& state) { run_gemm(state, true); }
void GemmLibrary(benchmark::State& state) { run_gemm(state, false); }

void gemm_shapes(benchmark::internal::Benchmark* bench) {
  for (const auto& [out, in] : std::vector<std::pair<int64_t, int64_t>>{{960, kHidden},
                                                                        {kHidden, kHidden},
                                                                        {2 * kWidth, kHidden},
                                                                        {kHidden, kWidth},
                                                                        {kVocab, kHidden}}) {
    for (const int64_t product : {0, 1, 2}) bench->Args({product, out, in});
  }
  bench->ArgNames({"product", "out", "in"})->UseRealTime()->Unit(benchmark::kMillisecond);
}
BENCHMARK(GemmRouted)->Apply(gemm_shapes);
BENCHMARK(GemmLibrary)->Apply(gemm_shapes);

struct AttentionData {
  at::Tensor qkv = at::randn({kTokens, 960}).set_requires_grad(true);
  at::Tensor grad = at::randn({kTokens, kHidden});
  at::Tensor cos = at::randn({kTokens, 32}), sin = at::randn({kTokens, 32});
  std::vector<int32_t> cu_doc_lens{0};
  explicit AttentionData(int64_t documents) {
    for (int64_t d = 1; d <= documents; ++d) {
      cu_doc_lens.push_back(static_cast<int32_t>(kTokens * d / documents));
    }
  }
  double flops(bool backward) const {
    double pairs = 0;
    for (size_t d = 0; d + 1 < cu_doc_lens.size(); ++d) {
      const double length = cu_doc_lens[d + 1] - cu_doc_lens[d];
      pairs += length * length / 2;
    }
    return pairs * 9 * 64 * 2 * (backward ? 7 : 2);
  }
};

void Attention(benchmark::State& state) {
  AttentionData data(state.range(0));
  const bool backward = state.range(1) != 0;
  const at::AutoGradMode mode(backward);
  for (auto _ : state) {
    const at::Tensor out =
        attention(data.qkv, data.cos, data.sin, data.cu_doc_lens, {9, 3, 64, 0.125, 0}, {}, {}, 0);
    if (backward) out.backward(data.grad);
  }
  set_flops(state, data.flops(backward));
}

// LibTorch's attention document by document, without RoPE.
void AttentionLibrary(benchmark::State& state) {
  AttentionData data(state.range(0));
  const bool backward = state.range(1) != 0;
  const at::AutoGradMode mode(backward);
  for (auto _ : state) {
    std::vector<at::Tensor> outs;
    for (size_t d = 0; d + 1 < data.cu_doc_lens.size(); ++d) {
      const int64_t begin = data.cu_doc_lens[d], count = data.cu_doc_lens[d + 1] - begin;
      const at::Tensor heads =
          data.qkv.narrow(0, begin, count).view({1, count, 15, 64}).transpose(1, 2);
      const at::Tensor k = heads.narrow(1, 9, 3).repeat_interleave(3, 1);
      const at::Tensor v = heads.narrow(1, 12, 3).repeat_interleave(3, 1);
      outs.push_back(at::scaled_dot_product_attention(heads.narrow(1, 0, 9), k, v, {}, 0.0, true)
                         .transpose(1, 2)
                         .reshape({count, kHidden}));
    }
    const at::Tensor out = at::cat(outs);
    if (backward) out.backward(data.grad);
  }
  set_flops(state, data.flops(backward));
}

void attention_cases(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"documents", "backward"})->UseRealTime()->Unit(benchmark::kMillisecond);
  for (const int64_t documents : {1, 6}) {
    for (const int64_t backward : {0, 1}) bench->Args({documents, backward});
  }
}
BENCHMARK(Attention)->Apply(attention_cases);
BENCHMARK(AttentionLibrary)->Apply(attention_cases);

void Head(benchmark::State& state) {
  const bool train = state.range(0) != 0;
  const at::Tensor x = at::randn({kTokens, kHidden});
  const at::Tensor labels = at::randint(kVocab, {kTokens}, at::kLong);
  Weight w{at::randn({kVocab, kHidden}) * 0.02, {}};
  if (train) w.grad = at::zeros_like(w.value);
  for (auto _ : state) benchmark::DoNotOptimize(head_loss(x, w, labels, 1.0, true).loss_sum);
  set_flops(state, 2.0 * static_cast<double>(kTokens * kHidden * kVocab) * (train ? 3 : 2));
}
BENCHMARK(Head)->ArgName("train")->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);

void LoraLinear(benchmark::State& state) {
  const at::Tensor x = at::randn({kTokens, kHidden}).set_requires_grad(true);
  const at::Tensor g = at::randn({kTokens, 960});
  const Weight w{at::randn({960, kHidden}), {}};
  std::vector<Lora> loras;
  for (const auto& [begin, width] :
       std::vector<std::pair<int64_t, int64_t>>{{0, 576}, {576, 192}, {768, 192}}) {
    Lora lora;
    lora.a_RD = {at::randn({16, kHidden}), at::zeros({16, kHidden})};
    lora.b_OR = {at::randn({width, 16}), at::zeros({width, 16})};
    lora.begin = begin;
    lora.dropout = state.range(0) != 0 ? 0.05 : 0.0;
    loras.push_back(lora);
  }
  for (auto _ : state) linear(x, w, {}, loras).backward(g);
}
BENCHMARK(LoraLinear)
    ->ArgName("dropout")
    ->Arg(0)
    ->Arg(1)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void SwiGlu(benchmark::State& state) {
  const at::Tensor x = at::randn({kTokens, 2 * kWidth}).set_requires_grad(true);
  const at::Tensor g = at::randn({kTokens, kWidth});
  for (auto _ : state) swiglu(x).backward(g);
}
BENCHMARK(SwiGlu)->UseRealTime()->Unit(benchmark::kMillisecond);

void Norm(benchmark::State& state) {
  const at::Tensor x = at::randn({kTokens, kHidden}).set_requires_grad(true);
  const at::Tensor g = at::randn({kTokens, kHidden});
  const Weight w{at::ones({kHidden}), at::zeros({kHidden})};
  for (auto _ : state) rms_norm(x, w, 1e-5).backward(g);
}
BENCHMARK(Norm)->UseRealTime()->Unit(benchmark::kMillisecond);

void AdamWUpdate(benchmark::State& state) {
  const int64_t count = 16 << 20;
  at::Tensor p = at::randn({count}), m = at::zeros({count}), v = at::zeros({count});
  const at::Tensor g = at::randn({count});
  for (auto _ : state) adamw_update({.learning_rate = 1e-4}, p, g, m, v);
  state.SetBytesProcessed(state.iterations() * count * 28);
}
BENCHMARK(AdamWUpdate)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace hone::kernels

int main(int argc, char** argv) {
  hone::kernels::install_caching_allocator();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
