// Which backend a process uses.
#pragma once

#include <string>

#include "core/environment.h"

namespace hone::parallel {

// `wanted` is "auto", "solo", "mpi", "tcp" or "nccl"; the answer is none of "auto". auto is "mpi"
// when the environment says that mpirun, or srun with PMI, started this process, else "tcp" when
// WORLD_SIZE says that there are others. Throws kBadRecipe for
// another name, and for a task of an srun of several that brings no PMI: it would train alone.
std::string choose_backend(const std::string& wanted, const core::ReadEnvironment& environment);

// This process's number among those of its machine, as mpirun, srun or LOCAL_RANK says it (else 0):
// the device it uses over nccl.
int local_rank(const core::ReadEnvironment& environment);

}  // namespace hone::parallel
