// Ranks that decide together: nothing that one rank alone finds out may change what it calls next.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "parallel/comm/communicator.h"

namespace hone::parallel {

// An error that every rank of the run throws at the same place, so one of them prints it and all
// end in order with its code.
class AgreedError : public core::Error {
 public:
  AgreedError(core::ErrorKind kind, core::ErrorDetail detail)
      : core::Error(kind, std::move(detail)) {}
};

// All of these: collective over `comm`, whose buffers are host memory.

// What every rank says, by rank.
std::vector<std::string> gather_texts(Communicator& comm, const std::string& mine);

// What rank 0 says.
std::string text_of_first(Communicator& comm, const std::string& mine);

// Runs `work`, which calls no collective of its own, on every rank. Where it throws on any, all
// throw an AgreedError: the error of the lowest such rank, which is named unless all fail alike.
// kPeerLost passes as it is: there is nobody to agree with.
void together(Communicator& comm, const std::function<void()>& work);

// Runs `work` on rank 0 alone, for what only one rank has to do; an error is thrown by all as it
// is.
void on_first(Communicator& comm, const std::function<void()>& work);

}  // namespace hone::parallel
