// Which number type and device a run computes with.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <optional>
#include <string>

#include "parallel/comm/communicator.h"

namespace hone::recipes {

// "auto", "cpu" or "cuda": of several GPUs the one with this rank's number on its machine. Throws
// kBadRecipe for cuda where this build or machine has none.
at::Device choose_device(const std::string& name);

struct DtypeChoice {
  at::ScalarType type = at::kFloat;
  std::string name;    // "float32"
  std::string reason;  // for the log and run.json: "recipe", "measured: float32 250 GFLOP/s,
                       // bfloat16 120 GFLOP/s"
};

// "float32" and "bfloat16" are what they say. "auto": bfloat16 on a GPU; on a CPU the one whose
// matrix products are faster, measured once, where bfloat16 has to win by a quarter because it also
// converts and rounds.
DtypeChoice choose_dtype(const std::string& name, at::Device device);

// The same for a run, and says so in the log. A resumed run computes as its checkpoint did,
// whatever a new measurement would say.
DtypeChoice choose_run_dtype(const std::string& name, at::Device device,
                             const std::optional<std::filesystem::path>& checkpoint);

// The same, rank 0's choice on every rank. Collective.
DtypeChoice choose_dtype_together(const std::string& name, at::Device device,
                                  const std::optional<std::filesystem::path>& checkpoint,
                                  parallel::Communicator& world);

}  // namespace hone::recipes
