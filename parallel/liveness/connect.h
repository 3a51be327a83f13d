// All ranks of a communicator connect to each other beside it.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "parallel/comm/communicator.h"
#include "parallel/liveness/meet.h"

namespace hone::parallel {

struct ConnectOptions {
  std::string interface;  // as ListenOptions
  int port = 0;           // of the first rank of a machine, the others take those above; 0: any
  std::chrono::milliseconds timeout = std::chrono::seconds(20);
};

struct ConnectedRanks {
  std::vector<Endpoint> ranks;  // by rank
  std::map<int, Link> links;    // with the peers of this rank
};

// Collective; buffers in host memory. Throws on all ranks: kBadRecipe for an interface or a port
// that a rank can't have, kPeerLost for ranks that do not answer there, each named by those that
// miss it.
ConnectedRanks connect_ranks(Communicator& world, const ConnectOptions& options);

}  // namespace hone::parallel
