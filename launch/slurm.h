// SLURM by its own commands: sinfo, sbatch, squeue, scontrol, sacct, scancel.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "launch/cluster.h"
#include "launch/process.h"

namespace hone::launch {

// How a command is run; tests answer themselves.
using RunCommand = std::function<Captured(const std::vector<std::string>& words)>;

// Before anything is sent: throws kUnavailable when SLURM is not there or does not answer,
// kBadRecipe with the line of the cluster file for a partition that it has not.
void check_slurm(const Cluster& cluster, const RunCommand& run);

// Whether SLURM would ever run this script, without sending it. Throws kBadRecipe with what it
// says.
void test_script(const Cluster& cluster, const std::filesystem::path& script,
                 const RunCommand& run);

// Sends the script; returns the job's id. Throws kBadRecipe or kUnavailable with what SLURM says.
std::string submit_script(const Cluster& cluster, const std::filesystem::path& script,
                          const RunCommand& run);

struct JobState {
  std::string id;     // "12", "12_3"
  std::string state;  // "RUNNING"; "" when SLURM knows the job no more
  std::string time, nodes, reason, exit_code;
};

// Of a job, or of all tasks of an array. Throws kUnavailable.
std::vector<JobState> job_states(const std::string& job_id, const RunCommand& run);

// Asks the ranks of a running job to stop with a checkpoint, and takes a waiting one back. `now`:
// scancel, with what time the cluster's KillWait leaves. Throws kUnavailable.
void cancel_job(const std::string& job_id, bool now, const RunCommand& run);

}  // namespace hone::launch
