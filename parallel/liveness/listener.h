// Where a rank can be reached by the others beside MPI.
#pragma once

#include <string>

#include "parallel/comm/socket.h"

namespace hone::parallel {

struct Endpoint {
  std::string host;     // its name, for messages
  std::string address;  // IPv4 or IPv6
  int port = 0;

  std::string text() const;  // "node07 (10.0.0.7 port 41234)"
};

struct ListenOptions {
  std::string interface;     // a name ("eth0") or an address of this machine; "": found out
  int port = 0;              // 0: any that is free
  bool one_machine = false;  // all ranks are on this one: the loopback will do
};

// Listens from construction to destruction.
class Listener {
 public:
  // Throws kBadRecipe for an interface this machine has not (the message names those it has) and
  // for a port in use, by the recipe's names of the keys; kIo.
  explicit Listener(const ListenOptions& options);
  const Endpoint& endpoint() const { return endpoint_; }
  int descriptor() const { return socket_.get(); }

 private:
  Endpoint endpoint_;
  Socket socket_;
};

// Starts to connect, without waiting: the socket becomes writable when that is over. Not open where
// it fails at once; errno says why.
Socket start_connect(const Endpoint& to);

}  // namespace hone::parallel
