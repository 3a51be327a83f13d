// How ranks connect to each other, beside MPI.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "parallel/liveness/listener.h"
#include "parallel/liveness/message.h"

namespace hone::parallel {

// The ranks that `rank` watches and is watched by: all others of up to 64; of more those at
// distances 1, 2, 4, ... on either side, so a few dozen at most. Whoever loses one tells the rest.
std::vector<int> peers_of(int rank, int num_ranks);

struct Link {
  Socket socket;
  MessageReader reader;
};

struct Meeting {
  int rank = 0;
  std::vector<Endpoint> ranks;  // by rank
  std::string secret;           // the same on all ranks: a stranger has another
  std::chrono::milliseconds timeout = std::chrono::seconds(10);
};

struct Met {
  std::map<int, Link> links;  // by rank, of peers_of
  std::string missing;        // "": nobody; else who did not answer, where, and why
};

// Every rank calls it at about the same time. Returns when it is connected with all its peers, or
// after the timeout.
Met meet(const Listener& listener, const Meeting& meeting);

}  // namespace hone::parallel
