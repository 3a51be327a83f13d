// Every key of a cluster file in one table: how it is read, and for whom it is.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/yaml.h"
#include "launch/cluster.h"

namespace hone::launch {

struct ClusterKey {
  std::string name;                 // "partition", "container.image"
  std::vector<Launcher> launchers;  // empty: all
  std::string expected;             // "a whole number, at least 1"
  // Takes the value over; false when it is not what is expected.
  std::function<bool(const core::YamlNode& value, Cluster& cluster)> read;
};

// A map comes before its keys.
const std::vector<ClusterKey>& cluster_keys();

}  // namespace hone::launch
