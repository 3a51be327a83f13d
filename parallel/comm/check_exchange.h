// What ranks tell each other before a collective, and the judgement over it.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parallel/comm/backend.h"

namespace hone::parallel {

// One rank's call, as sent.
struct Signature {
  uint64_t group = 0;     // the same number on all its members
  int64_t call = 0;       // collectives of this group so far
  uint64_t call_key = 0;  // a hash of all that must agree
  char text[232] = {};    // for the reader: "all_reduce sum of 12 float32 (call 3 of ranks 0 1)"
};

Signature make_signature(const Operation& operation, const std::string& name, uint64_t group,
                         int64_t call, const std::vector<int>& members);
uint64_t mix_hash(uint64_t hash, uint64_t value);

// Sends this rank's signature to the other members and collects theirs. Ranks are those of
// `control`, a backend of its own that carries nothing else.
class SignatureExchange {
 public:
  SignatureExchange(std::shared_ptr<Backend> control, std::vector<int> members,
                    const Signature& mine, std::chrono::milliseconds timeout);

  // True when all members have called the same. Throws the error that all ranks throw once they
  // have not, and all signatures are here or some stay away.
  bool test();
  // Throws naming the members that have called nothing for the timeout.
  [[noreturn]] void time_out();
  void abandon() noexcept;

 private:
  using Clock = std::chrono::steady_clock;
  bool differs(size_t i) const;
  [[noreturn]] void raise();
  void tell_the_others(Clock::time_point end) noexcept;
  std::string calls() const;  // "ranks 0 2: X; rank 1: Y"

  std::shared_ptr<Backend> control_;
  std::vector<int> members_;
  Signature mine_;
  std::chrono::milliseconds timeout_, grace_;
  std::vector<Signature> theirs_;                   // by member
  std::vector<std::shared_ptr<Pending>> receives_;  // null once here
  std::vector<std::shared_ptr<Pending>> sends_;
  std::optional<Clock::time_point> first_difference_;
};

}  // namespace hone::parallel
