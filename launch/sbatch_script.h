// The batch script that runs a job under SLURM, and again after a requeue.
#pragma once

#include <string>

#include "launch/cluster.h"
#include "launch/job.h"

namespace hone::launch {

// The whole text. SLURM runs it from the top after every requeue; it then resumes. What it does
// about signals and exit codes is in docs/cluster.md.
std::string sbatch_script(const Cluster& cluster, const Job& job);

}  // namespace hone::launch
