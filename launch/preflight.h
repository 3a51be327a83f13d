// What can be known to go wrong before mpirun is started.
#pragma once

#include <string>

#include "launch/cluster.h"

namespace hone::launch {

// Throws kUnavailable when mpirun is not there, or a host has no address or takes no login by ssh;
// kBadRecipe for an interface that this machine has not, or more ranks or cores than it has where
// it is the only one; kMissingInput for a program that can't be run. Each with the line of the
// cluster file. Hosts are asked one after the other, 5 s at most each.
void check_mpirun(const Cluster& cluster);

}  // namespace hone::launch
