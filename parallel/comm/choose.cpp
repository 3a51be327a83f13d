#include "parallel/comm/choose.h"

#include <charconv>
#include <system_error>

#include "core/error.h"
#include "parallel/comm/communicator.h"
#include "parallel/comm/nccl.h"
#include "parallel/comm/tcp.h"

namespace hone::parallel {
namespace {

using core::ErrorKind;
using core::fail;

bool launched(const core::ReadEnvironment& environment) {
  // Open MPI's mpirun; PMIx (srun --mpi=pmix, prterun); PMI-1 and PMI-2 (srun, Hydra).
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (!environment(name).empty()) return true;
  }
  return false;
}

}  // namespace

std::string choose_backend(const std::string& wanted, const core::ReadEnvironment& environment) {
  if (wanted == "solo" || wanted == "mpi" || wanted == "nccl" || wanted == "tcp") return wanted;
  if (wanted != "auto") {
    fail(ErrorKind::kBadRecipe, {.what = "no such communication backend",
                                 .where = "backend",
                                 .got = wanted,
                                 .expected = "auto, mpi, nccl, solo or tcp"});
  }
  if (launched(environment)) return "mpi";
  const std::string world_size = environment("WORLD_SIZE");
  if (!world_size.empty() && world_size != "1") return "tcp";
  const std::string tasks = environment("SLURM_STEP_NUM_TASKS");
  if (!tasks.empty() && tasks != "1") {
    fail(ErrorKind::kBadRecipe,
         {.what = "srun started " + tasks + " tasks that can't find each other",
          .where = "backend",
          .hint = "start them with srun --mpi=pmix, or by mpirun"});
  }
  return "solo";
}

int local_rank(const core::ReadEnvironment& environment) {
  for (const char* name :
       {"OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID", "MPI_LOCALRANKID", "LOCAL_RANK"}) {
    const std::string value = environment(name);
    int rank = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), rank);
    if (!value.empty() && error == std::errc() && *end == '\0' && rank >= 0) return rank;
  }
  return 0;
}

Communicator make_communicator(const std::string& backend) {
  const core::ReadEnvironment read = core::process_environment();
  const std::string name = choose_backend(backend, read);
  if (name == "solo") return Communicator(make_solo());
  if (name == "mpi") return Communicator(make_mpi());
  if (name == "tcp") return Communicator(make_tcp(read_rendezvous(read)));
  const NcclApi api = real_nccl_api();  // before MPI is started, which a missing NCCL needs not
  const bool has_mpi = choose_backend("auto", read) != "tcp";
  return Communicator(make_nccl(has_mpi ? make_mpi() : make_tcp(read_rendezvous(read)), api,
                                {.device = local_rank(read)}));
}

}  // namespace hone::parallel
