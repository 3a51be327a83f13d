#include "recipes/cluster_plan.h"

#include <cmath>
#include <optional>

#include "core/error.h"
#include "recipes/machine.h"
#include "recipes/model_checks.h"
#include "recipes/plan/plan_text.h"
#include "recipes/recipe_plan.h"

namespace hone::recipes {
namespace {

using core::ErrorKind;
using launch::Cluster;
using launch::Launcher;

// "64G", as SLURM reads it: megabytes without a letter; 0 for anything else.
double slurm_bytes(const std::string& text) {
  size_t end = 0;
  double value = 0;
  try {
    value = std::stod(text, &end);
  } catch (const std::exception&) {
    return 0;
  }
  const std::string letters = "KMGT";
  const size_t power = end == text.size() ? 1 : letters.find(text[end]);
  return power == std::string::npos ? 0 : value * std::pow(1024, static_cast<double>(power) + 1);
}

// Of a node without GPUs; 0: not known here.
double node_memory(const Cluster& cluster) {
  if (cluster.launcher == Launcher::kSlurm) return slurm_bytes(cluster.slurm.memory);
  return cluster.mpirun.hosts.empty() ? static_cast<double>(memory_bytes()) : 0;
}

bool is_known(const Cluster& cluster) {
  return !cluster.hardware.empty() || cluster.gpus_per_node > 0 || node_memory(cluster) > 0;
}

std::optional<models::ModelSpec> spec_at_hand(const Recipe& recipe) {
  try {
    return spec_to_plan(recipe, "");
  } catch (const core::Error& error) {
    if (error.kind() != ErrorKind::kMissingInput) throw;
    return std::nullopt;
  }
}

}  // namespace

Hardware hardware_of(const Cluster& cluster) {
  const std::string fallback = cluster.gpus_per_node > 0 ? "h100" : "cpu";
  Hardware hardware = find_hardware(cluster.hardware.empty() ? fallback : cluster.hardware,
                                    cluster.place("hardware"));
  hardware.ranks_per_node = cluster.ranks_per_node;
  const double memory = node_memory(cluster);
  if (cluster.hardware.empty() && !hardware.is_gpu && memory > 0)
    hardware.memory_bytes = memory / static_cast<double>(cluster.ranks_per_node);
  return hardware;
}

void require_memory(const Recipe& recipe, const Cluster& cluster) {
  const auto spec = spec_at_hand(recipe);
  if (!spec || !is_known(cluster) || !recipe.loader.packing) return;
  require_fit(recipe, *spec);
  const PlanInput input = plan_input(recipe, *spec, hardware_of(cluster), recipe.adapter_path);
  const Plan plan = estimate(input);
  if (!plan.fits) core::fail(ErrorKind::kBadRecipe, shortage(recipe.path, input, plan));
}

}  // namespace hone::recipes
