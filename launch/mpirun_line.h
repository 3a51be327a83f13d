// The command that starts a run's ranks by Open MPI's mpirun.
#pragma once

#include <string>
#include <vector>

#include "launch/cluster.h"
#include "launch/job.h"

namespace hone::launch {

struct MpirunCommand {
  std::vector<std::string> words;
  std::vector<std::pair<std::string, std::string>> environment;  // beyond this process's
};

// One rank of this machine is started as it is.
bool needs_mpirun(const Cluster& cluster);

// Of one point of a job. `start` is how this start of it begins: restarts resume. `forwarded` are
// the names of variables that ranks on other machines get from here. Where no mpirun is
// needed the words are the program's. With modules or lines of set-up a shell runs them first.
MpirunCommand mpirun_command(const Cluster& cluster, const Job& job, const Point& point,
                             Start start, const std::vector<std::string>& forwarded = {});

// As a user would type it.
std::string command_text(const MpirunCommand& command);

}  // namespace hone::launch
