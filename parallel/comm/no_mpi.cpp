// Stands for mpi.cpp where the build has no MPI.
#include "core/error.h"
#include "parallel/comm/backend.h"

namespace hone::parallel {

std::shared_ptr<Backend> make_mpi(const MpiSizes&) {
  core::fail(core::ErrorKind::kBadRecipe,
             {.what = "this build has no MPI",
              .where = "backend",
              .got = "mpi",
              .expected = "solo",
              .hint = "build with -DHONE_MPI=ON, which needs libopenmpi-dev"});
}

bool mpi_built_in() { return false; }

bool mpi_takes_cuda_memory() { return false; }

}  // namespace hone::parallel
