// Loads a model folder, or a rank's part of it, then touches every page of the weights, and says
// how long that took and what it did to this process's memory. One half of
// tests/bench/load_vs_transformers.py.
#include <algorithm>
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

// "1/4" is the second of four parts.
hone::models::Sharding sharding_of(const std::string& text) {
  const size_t slash = text.find('/');
  return {.index = std::stol(text.substr(0, slash)), .count = std::stol(text.substr(slash + 1))};
}

struct Bytes {
  int64_t kept = 0, largest_tensor = 0;
};

Bytes bytes_of(const hone::models::Model& model) {
  Bytes bytes;
  for (const auto& stage : model.stages) {
    bytes.kept += static_cast<int64_t>(stage.kept.trainable.nbytes() + stage.kept.frozen.nbytes());
    for (const auto& parameter : stage.parameters) {
      bytes.largest_tensor =
          std::max(bytes.largest_tensor, static_cast<int64_t>(parameter.value.nbytes()));
    }
  }
  return bytes;
}

double sum_of_pages(const at::Tensor& tensor) {
  return tensor.flatten().slice(0, 0, {}, 1024).sum(at::kDouble).item<double>();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 5) {
    std::fprintf(stderr, "usage: load_bench FOLDER float32|bfloat16 [train [INDEX/COUNT]]\n");
    return 64;
  }
  const bool half = std::string(argv[2]) == "bfloat16";
  const bool is_part = argc == 5;
  hone::kernels::install_caching_allocator();
  const long before = peak_rss_bytes();
  const auto start = std::chrono::steady_clock::now();
  const hone::models::Model model = hone::models::load_model(
      argv[1], {.compute_dtype = half ? at::kBFloat16 : at::kFloat,
                .train_base = argc > 3,
                .sharding = is_part ? sharding_of(argv[4]) : hone::models::Sharding{}});
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const long loaded = peak_rss_bytes();
  double sum = 0;
  for (const auto& stage : model.stages) {
    if (is_part) sum += sum_of_pages(stage.kept.trainable) + sum_of_pages(stage.kept.frozen);
    for (const auto& parameter : stage.parameters) {
      if (!is_part) sum += sum_of_pages(parameter.value);
    }
  }
  const std::chrono::duration<double> used = std::chrono::steady_clock::now() - start;
  const Bytes bytes = bytes_of(model);
  std::printf(
      "{\"seconds\": %.6f, \"used_seconds\": %.6f, \"before\": %ld, \"loaded\": %ld, \"peak\": "
      "%ld, \"kept\": %ld, \"largest_tensor\": %ld, \"sum\": %.9g}\n",
      seconds.count(), used.count(), before, loaded, peak_rss_bytes(), bytes.kept,
      bytes.largest_tensor, sum);
  return 0;
}
