// The backend over TCP: for ranks that are told who they are (RANK, WORLD_SIZE) and where they meet
// (MASTER_ADDR, MASTER_PORT), and have no MPI. Every rank is connected to every other. A thread per
// process takes in what comes, so that who sends never waits for a rank that computes; sums are
// formed as over mpi, slices of combine.h's tree, and have the same bits. Nothing is encrypted and
// nobody is asked who they are: for networks that MPI could be used on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/environment.h"
#include "parallel/comm/backend.h"

namespace hone::parallel {

struct TcpRendezvous {
  int rank = 0, size = 1;
  std::string address = "127.0.0.1";  // of rank 0, as the others reach it
  int port = 0;
  int seconds = 120;  // how long ranks wait for each other
};

// From RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT and HONE_RENDEZVOUS_SECONDS. Throws kBadRecipe
// for what is missing or out of range.
TcpRendezvous read_rendezvous(const core::ReadEnvironment& environment);

// A socket to every other rank, by rank; -1 for this one. Throws kUnavailable when rank 0's port is
// in use or its address can't be found; kPeerLost, with their numbers, when ranks do not come in
// time; kBadRecipe when they do not agree on who they are.
std::vector<int> connect_ranks(const TcpRendezvous& rendezvous);

// Collective.
std::shared_ptr<Backend> make_tcp(const TcpRendezvous& rendezvous);

}  // namespace hone::parallel
