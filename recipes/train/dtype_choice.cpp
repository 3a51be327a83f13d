#include "recipes/train/dtype_choice.h"

#include <ATen/detail/CUDAHooksInterface.h>
#include <spdlog/spdlog.h>

#include <cstdio>

#include "core/environment.h"
#include "core/error.h"
#include "parallel/comm/agree.h"
#include "parallel/comm/choose.h"
#include "trainer/manifest.h"
#include "trainer/throughput.h"

namespace hone::recipes {
namespace {

DtypeChoice measured_choice() {
  constexpr double kMargin = 1.25;
  const double float32 = 1e-9 * trainer::measure_gemm_rate(at::kFloat, at::kCPU);
  const double bfloat16 = 1e-9 * trainer::measure_gemm_rate(at::kBFloat16, at::kCPU);
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
  if (!has_cuda || name == "cpu") return at::kCPU;
  const int rank = parallel::local_rank(core::process_environment());
  const int num_devices = at::detail::getCUDAHooks().getNumGPUs();
  if (rank >= num_devices) {
    core::fail(core::ErrorKind::kBadRecipe,
               {.what = "more ranks on this machine than GPUs that they see",
                .where = "device",
                .got = "rank " + std::to_string(rank) + " of the machine",
                .expected = "at most " + std::to_string(num_devices) + " ranks",
                .hint = "every rank takes the GPU of its own number: let each see all of them"});
  }
  return {at::kCUDA, static_cast<c10::DeviceIndex>(rank)};
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

DtypeChoice choose_dtype_together(const std::string& name, at::Device device,
                                  const std::optional<std::filesystem::path>& checkpoint,
                                  parallel::Communicator& world) {
  DtypeChoice choice;
  parallel::on_first(world, [&] { choice = choose_run_dtype(name, device, checkpoint); });
  choice.name = parallel::text_of_first(world, choice.name);
  choice.reason = parallel::text_of_first(world, choice.reason);
  choice.type = choice.name == "bfloat16" ? at::kBFloat16 : at::kFloat;
  return choice;
}

}  // namespace hone::recipes
