#include "recipes/train/dtype_choice.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "core/error.h"
#include "kernels/gemm.h"
#include "trainer/manifest.h"

namespace hone::recipes {
namespace {

// Best of a few products of the size a small model's layers have, in GFLOP/s.
double measure_gflops(at::ScalarType type) {
  constexpr int64_t kRows = 512, kSide = 1024;
  constexpr int kRounds = 4;
  const at::NoGradGuard no_grad;
  const at::Tensor a = at::full({kRows, kSide}, 0.5, at::TensorOptions().dtype(type));
  const at::Tensor b = at::full({kSide, kSide}, 0.5, at::TensorOptions().dtype(type));
  double best_seconds = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    const at::Tensor c = kernels::gemm(a, b);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (round > 0) best_seconds = std::min(best_seconds, took.count());  // the first warms up
  }
  return 2e-9 * static_cast<double>(kRows * kSide * kSide) / best_seconds;
}

DtypeChoice measured_choice() {
  constexpr double kMargin = 1.25;
  const double float32 = measure_gflops(at::kFloat), bfloat16 = measure_gflops(at::kBFloat16);
  char reason[96];
  std::snprintf(reason, sizeof reason, "measured: float32 %.0f GFLOP/s, bfloat16 %.0f GFLOP/s",
                float32, bfloat16);
  if (bfloat16 > kMargin * float32) return {at::kBFloat16, "bfloat16", reason};
  return {at::kFloat, "float32", reason};
}

}  // namespace

at::Device choose_device(const std::string& name) {
  const bool has_cuda = at::globalContext().hasCUDA();
  if (name == "cuda" && !has_cuda) {
    core::fail(core::ErrorKind::kBadRecipe,
               {.what = "device: got 'cuda', but this build or machine has no usable GPU",
                .hint = "use device: cpu, or build with the cuda preset"});
  }
  return has_cuda && name != "cpu" ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
}

DtypeChoice choose_dtype(const std::string& name, at::Device device) {
  if (name == "float32") return {at::kFloat, name, "recipe"};
  if (name == "bfloat16") return {at::kBFloat16, name, "recipe"};
  if (device.is_cuda()) return {at::kBFloat16, "bfloat16", "GPU"};
  return measured_choice();
}

DtypeChoice choose_run_dtype(const std::string& name, at::Device device,
                             const std::optional<std::filesystem::path>& checkpoint) {
  if (name == "auto" && checkpoint) {
    const core::Json identity = trainer::read_manifest(*checkpoint).identity;
    const std::string kept = identity.is_object() ? identity.value("dtype", "") : "";
    if (kept == "float32" || kept == "bfloat16") {
      DtypeChoice choice = choose_dtype(kept, device);
      choice.reason = "checkpoint";
      return choice;
    }
  }
  DtypeChoice choice = choose_dtype(name, device);
  spdlog::info("computing in {} ({})", choice.name, choice.reason);
  return choice;
}

}  // namespace hone::recipes
