// Stands for nccl_real.cpp where the build has no CUDA.
#include "core/error.h"
#include "parallel/comm/nccl_api.h"

namespace hone::parallel {

NcclApi real_nccl_api() {
  core::fail(core::ErrorKind::kBadRecipe, {.what = "this build has no NCCL",
                                           .where = "backend",
                                           .got = "nccl",
                                           .expected = "auto, mpi or solo",
                                           .hint = "build with cmake --preset cuda"});
}

}  // namespace hone::parallel
