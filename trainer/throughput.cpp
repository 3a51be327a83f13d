#include "trainer/throughput.h"

#include <ATen/core/grad_mode.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <chrono>

#include "kernels/gemm.h"

namespace hone::trainer {
namespace {

// The host's clock sees the end of a GPU's work only when it reads a value of the result.
double seconds_of_product(const at::Tensor& a, const at::Tensor& b) {
  const auto start = std::chrono::steady_clock::now();
  const at::Tensor c = a.is_cpu() ? kernels::gemm(a, b) : at::mm(a, b);
  if (!a.is_cpu()) c.flatten()[0].item();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void add(const Work& step, Work& sum) {
  sum.num_tokens += step.num_tokens;
  sum.num_trained_tokens += step.num_trained_tokens;
  sum.flops.blocks += step.flops.blocks;
  sum.flops.head += step.flops.head;
  sum.flops.attention += step.flops.attention;
  sum.seconds += step.seconds;
}

double per_token(double flops, const Work& work) {
  return work.num_tokens > 0 ? flops / static_cast<double>(work.num_tokens) : 0;
}

}  // namespace

double measure_gemm_rate(at::ScalarType dtype, at::Device device) {
  const int64_t rows = device.is_cpu() ? 512 : 8192, side = device.is_cpu() ? 1024 : 4096;
  constexpr int kRounds = 4;
  const at::NoGradGuard no_grad;
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  const at::Tensor a = at::full({rows, side}, 0.5, options);
  const at::Tensor b = at::full({side, side}, 0.5, options);
  double best_seconds = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    const double seconds = seconds_of_product(a, b);
    if (round > 0) best_seconds = std::min(best_seconds, seconds);  // the first warms up
  }
  return 2.0 * static_cast<double>(rows * side * side) / best_seconds;
}

Throughput::Throughput(const FlopCounts& counts, double gemm_rate)
    : counts_(counts), gemm_rate_(gemm_rate) {}

std::vector<double> Throughput::flops_of(std::span<const data::MicroBatch> micro_batches) const {
  const StepFlops flops = trainer::flops_of(counts_, micro_batches);
  return {flops.blocks, flops.head, flops.attention};
}

void Throughput::add_step(int64_t num_tokens, int64_t num_trained_tokens,
                          const std::vector<double>& flops, double seconds) {
  const Work step{.num_tokens = num_tokens,
                  .num_trained_tokens = num_trained_tokens,
                  .flops = {.blocks = flops[0], .head = flops[1], .attention = flops[2]},
                  .seconds = seconds};
  add(step, row_);
  add(step, run_);
}

double Throughput::share(const Work& work) const {
  return gemm_rate_ > 0 ? work.flops_per_second() / gemm_rate_ : 0;
}

std::string Throughput::formula() const {
  if (run_.num_tokens == 0) return "";
  constexpr double kGiga = 1e-9;
  const double trained = per_token(static_cast<double>(run_.num_trained_tokens), run_);
  std::string text = fmt::format(
      "{:.4g} GFLOP a token = blocks {:.4g} ({}) + head {:.4g} ({}, on the {:.3g} of tokens that "
      "are trained) + attention {:.4g}; x {:.4g} tokens/s = {:.4g} GFLOP/s",
      kGiga * per_token(run_.flops.total(), run_), kGiga * per_token(run_.flops.blocks, run_),
      describe_weights(counts_.blocks), kGiga * per_token(run_.flops.head, run_),
      describe_weights(counts_.head), trained, kGiga * per_token(run_.flops.attention, run_),
      run_.tokens_per_second(), kGiga * run_.flops_per_second());
  if (gemm_rate_ > 0) {
    text += fmt::format(" = {:.3g} % of the {:.4g} GFLOP/s of a matrix product here",
                        100 * share(run_), kGiga * gemm_rate_);
  }
  return text;
}

core::Json Throughput::json() const {
  return {{"tokens_per_second", run_.tokens_per_second()},
          {"tokens", run_.num_tokens},
          {"seconds", run_.seconds},
          {"flops_per_token", per_token(run_.flops.total(), run_)},
          {"flops_per_second", run_.flops_per_second()},
          {"gemm_flops_per_second", gemm_rate_},
          {"flops_share", share(run_)},
          {"formula", formula()}};
}

}  // namespace hone::trainer
