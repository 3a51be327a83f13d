// How fast a run is, and how near that comes to what the machine's matrix products reach.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/micro_batch.h"
#include "trainer/flops.h"

namespace hone::trainer {

// Best of a few matrix products of the size a small model's layers have, in floating-point
// operations a second. Takes about 50 ms.
double measure_gemm_rate(at::ScalarType dtype, at::Device device);

// Tokens, work and time since some moment.
struct Work {
  int64_t num_tokens = 0, num_trained_tokens = 0;
  StepFlops flops;
  double seconds = 0;
  double tokens_per_second() const {
    return seconds > 0 ? static_cast<double>(num_tokens) / seconds : 0;
  }
  double flops_per_second() const { return seconds > 0 ? flops.total() / seconds : 0; }
};

class Throughput {
 public:
  // `gemm_rate`: of measure_gemm_rate for the dtype the model computes in; 0: not known.
  Throughput(const FlopCounts& counts, double gemm_rate);

  // Of micro-batches that a rank computed: summed over ranks they are the `flops` of add_step.
  std::vector<double> flops_of(std::span<const data::MicroBatch> micro_batches) const;
  // A step of all ranks.
  void add_step(int64_t num_tokens, int64_t num_trained_tokens, const std::vector<double>& flops,
                double seconds);
  const Work& row() const { return row_; }  // since the last end_row
  void end_row() { row_ = {}; }
  double share(const Work& work) const;  // of gemm_rate; 0 where that is not known

  // Of all steps so far: {"tokens_per_second", "tokens", "seconds", "flops_per_token",
  // "flops_per_second", "gemm_flops_per_second", "flops_share", "formula"}.
  core::Json json() const;
  // The formula of "flops_per_token" and "flops_share" with this run's numbers, on one line.
  std::string formula() const;

 private:
  const FlopCounts counts_;
  const double gemm_rate_;
  Work row_, run_;
};

}  // namespace hone::trainer
