// Loads a model folder, then touches every page of the weights, and says how long that took and
// what it did to this process's memory. One half of tests/bench/load_vs_transformers.py.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>

#include "kernels/allocator.h"
#include "models/load.h"

namespace {

// VmHWM: unlike getrusage it starts anew with each program.
long peak_rss_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stol(line.substr(6)) * 1024;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    std::fprintf(stderr, "usage: load_bench FOLDER float32|bfloat16 [train]\n");
    return 64;
  }
  const bool half = std::string(argv[2]) == "bfloat16";
  hone::kernels::install_caching_allocator();
  const long before = peak_rss_bytes();
  const auto start = std::chrono::steady_clock::now();
  const hone::models::Model model = hone::models::load_model(
      argv[1], {.compute_dtype = half ? at::kBFloat16 : at::kFloat, .train_base = argc == 4});
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const long loaded = peak_rss_bytes();
  double sum = 0;
  for (const auto& stage : model.stages) {
    for (const auto& parameter : stage.parameters) {
      sum += parameter.value.flatten().slice(0, 0, {}, 1024).sum(at::kDouble).item<double>();
    }
  }
  const std::chrono::duration<double> used = std::chrono::steady_clock::now() - start;
  std::printf(
      "{\"seconds\": %.6f, \"used_seconds\": %.6f, \"before\": %ld, \"loaded\": %ld, \"peak\": "
      "%ld, "
      "\"sum\": %.9g}\n",
      seconds.count(), used.count(), before, loaded, peak_rss_bytes(), sum);
  return 0;
}
