// Which rank of a run this process is, as who started it says in the environment.
#pragma once

#include <string>

#include "core/environment.h"

namespace hone::launch {

enum class StartedBy {
  kAlone,    // nobody says anything
  kOpenMpi,  // mpirun: OMPI_COMM_WORLD_*
  kSlurm,    // srun: SLURM_PROCID and its like
  kPmix,     // another launcher with PMIx: PMIX_RANK, no sizes
  kPlain,    // RANK, WORLD_SIZE, LOCAL_RANK; they meet at MASTER_ADDR, MASTER_PORT
};

const char* name_of(StartedBy started_by);

struct RankEnvironment {
  StartedBy started_by = StartedBy::kAlone;
  int rank = 0, world_size = 1;        // world_size 0: not said
  int local_rank = 0, local_size = 0;  // among the ranks of its machine; local_size 0: not said
  int wanted_ranks = 0;                // as `hone launch` meant it (HONE_RANKS); 0: not said
  bool has_rendezvous = false;         // there is something by which ranks can find each other
};

// Throws kBadRecipe, naming the variables, when one that must be there is not or is no number, a
// number is out of its range, or two of those who started it contradict each other. Ranks that
// mpirun starts inside a job of SLURM are mpirun's.
RankEnvironment read_rank_environment(const core::ReadEnvironment& read);

// Throws kBadRecipe for several ranks that nothing brings together, kPeerLost when fewer ranks than
// `hone launch` meant are there.
void require_rendezvous(const RankEnvironment& environment);

}  // namespace hone::launch
