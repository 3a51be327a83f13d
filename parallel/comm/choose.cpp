#include "parallel/comm/choose.h"

#include <cstdlib>

#include "core/error.h"
#include "parallel/comm/communicator.h"

namespace hone::parallel {
namespace {

using core::ErrorKind;
using core::fail;

bool launched(const ReadEnvironment& environment) {
  // Open MPI's mpirun; PMIx (srun --mpi=pmix, prterun); PMI-1 and PMI-2 (srun, Hydra).
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (!environment(name).empty()) return true;
  }
  return false;
}

}  // namespace

std::string choose_backend(const std::string& wanted, const ReadEnvironment& environment) {
  if (wanted == "solo" || wanted == "mpi" || wanted == "nccl") return wanted;
  if (wanted != "auto") {
    fail(ErrorKind::kBadRecipe, {.what = "no such communication backend",
                                 .where = "backend",
                                 .got = wanted,
                                 .expected = "auto, mpi, nccl or solo"});
  }
  if (launched(environment)) return "mpi";
  const std::string tasks = environment("SLURM_STEP_NUM_TASKS");
  if (!tasks.empty() && tasks != "1") {
    fail(ErrorKind::kBadRecipe,
         {.what = "srun started " + tasks + " tasks that can't find each other",
          .where = "backend",
          .hint = "start them with srun --mpi=pmix, or by mpirun"});
  }
  return "solo";
}

Communicator make_communicator(const std::string& backend) {
  const std::string name = choose_backend(backend, [](const char* variable) -> std::string {
    const char* value = std::getenv(variable);
    return value == nullptr ? "" : value;
  });
  if (name == "solo") return Communicator(make_solo());
  if (name == "mpi") return Communicator(make_mpi());
  fail(ErrorKind::kBadRecipe, {.what = "this build has no NCCL",
                               .where = "backend",
                               .got = name,
                               .expected = "auto, mpi or solo"});
}

}  // namespace hone::parallel
