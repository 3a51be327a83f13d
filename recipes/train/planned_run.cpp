#include "recipes/train/planned_run.h"

#include <ATen/DeviceAccelerator.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>

#include "core/environment.h"
#include "core/text.h"
#include "parallel/comm/agree.h"
#include "recipes/machine.h"
#include "recipes/plan/plan_text.h"
#include "recipes/recipe_plan.h"
#include "trainer/process_stats.h"

namespace hone::recipes {
namespace {

// Of a rank: a GPU's, or its share of what the ranks of its machine have together.
int64_t memory_of_rank(at::Device device, parallel::Communicator& world) {
  const std::vector<std::string> hosts = parallel::gather_texts(world, core::host_name());
  if (!device.is_cpu())
    return static_cast<int64_t>(at::accelerator::getMemoryInfo(device.index()).second);
  return memory_bytes() / std::ranges::count(hosts, core::host_name());
}

// The smallest of all ranks, which all plan with.
int64_t smallest(int64_t mine, parallel::Communicator& world) {
  int64_t least = 0;
  world.all_reduce(&mine, &least, 1, parallel::DType::kInt64, parallel::ReduceOp::kMin);
  return least;
}

int64_t largest(int64_t mine, parallel::Communicator& world) {
  int64_t most = 0;
  world.all_reduce(&mine, &most, 1, parallel::DType::kInt64, parallel::ReduceOp::kMax);
  return most;
}

Hardware hardware_here(at::Device device, bool is_bfloat16, double gemm_rate, int64_t memory,
                       int64_t program_bytes) {
  Hardware hardware = find_hardware(device.is_cpu() ? "cpu" : "h100");
  hardware.memory_bytes = static_cast<double>(memory);
  hardware.description = device.is_cpu() ? "this machine for each of its ranks" : "this GPU";
  if (device.is_cpu()) hardware.reserved_bytes = static_cast<double>(program_bytes);
  if (gemm_rate > 0) {
    (is_bfloat16 ? hardware.bfloat16_flops : hardware.float32_flops) = gemm_rate;
    hardware.attention_share = std::min(1.0, hardware.attention_share / hardware.matmul_share);
    hardware.matmul_share = 1;
  }
  return hardware;
}

// Bytes of tensors and what holds them.
int64_t measured_bytes(const PlannedRun& planned, at::Device device) {
  if (device.is_cpu()) return trainer::peak_resident_bytes();
  const auto stats = at::accelerator::getDeviceStats(device.index());
  return stats.allocated_bytes[0].peak +
         static_cast<int64_t>(planned.input.hardware.reserved_bytes);
}

// The longest row there is, where rows are not packed.
int64_t longest_row(const data::TokenCache& cache, int64_t max_length) {
  int64_t longest = 1;
  for (const uint64_t row : cache.kept_rows())
    longest = std::max(longest, cache.num_row_tokens(static_cast<int64_t>(row)));
  return std::min(longest, max_length);
}

// What the data has of rows and tokens may be less than the recipe has room for.
void limit_to_data(const Prepared& prepared, const Recipe& recipe, PlanInput& input) {
  constexpr int64_t kFirstEpoch = 0;
  input.micro_batch_size = std::clamp<int64_t>(prepared.train_loader->num_positions(kFirstEpoch), 1,
                                               input.micro_batch_size);
  if (!recipe.loader.packing)
    input.row_tokens = longest_row(prepared.data.train, recipe.loader.max_length);
}

std::string percent_text(double planned, double measured) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%+.1f %%", 100 * (planned / measured - 1));
  return text.data();
}

}  // namespace

PlannedRun plan_run(const Recipe& recipe, const Prepared& prepared, double gemm_rate,
                    bool ignores_shortage, parallel::Communicator& world) {
  PlannedRun planned;
  planned.program_bytes = trainer::resident_bytes();
  const int64_t program = largest(planned.program_bytes, world);
  const int64_t memory = smallest(memory_of_rank(prepared.device, world), world);
  const bool is_bfloat16 = prepared.dtype.type == at::kBFloat16;
  parallel::together(world, [&] {
    planned.input = plan_input(
        recipe, models::read_model_spec(prepared.inputs.model.folder),
        hardware_here(prepared.device, is_bfloat16, gemm_rate, memory, program),
        prepared.inputs.adapter ? prepared.inputs.adapter->folder.string() : recipe.adapter_path);
    planned.input.is_bfloat16 = is_bfloat16;
    limit_to_data(prepared, recipe, planned.input);
    planned.plan = estimate(planned.input);
    if (planned.plan.fits) return;
    const core::ErrorDetail detail = shortage(recipe.path, planned.input, planned.plan);
    if (!ignores_shortage) core::fail(core::ErrorKind::kBadRecipe, detail);
    if (world.rank() == 0) spdlog::warn("{}", core::format_detail(detail));
  });
  return planned;
}

void compare_with_plan(const PlannedRun& planned, at::Device device, double seconds,
                       parallel::Communicator& world) {
  const int64_t measured = largest(measured_bytes(planned, device), world);
  if (world.rank() != 0) return;
  const double bytes = planned.plan.needed_bytes, step = planned.plan.time.seconds;
  spdlog::info("planned and measured: memory {} and {} ({}), first step {:.3g} s and {:.3g} s ({})",
               core::format_bytes(bytes), core::format_bytes(static_cast<double>(measured)),
               percent_text(bytes, static_cast<double>(measured)), step, seconds,
               percent_text(step, seconds));
}

}  // namespace hone::recipes
