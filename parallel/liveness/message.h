// What ranks tell each other beside MPI, and how that stands in a stream of bytes.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "parallel/comm/flight_record.h"

namespace hone::parallel {

enum class LossKind {
  kClosed,  // its connection was closed: the process was killed, or its machine is gone
  kSilent,  // no sign of life: stopped, or its network is gone
  kFailed,  // it said so itself
};

// A rank that the run has lost.
struct Loss {
  int rank = -1;
  LossKind kind = LossKind::kClosed;
  double silent_seconds = 0;  // since its last sign of life
  int exit_code = 76;         // the run's: that of the rank where it failed
  std::string what;           // of kFailed
  FlightStatus last;          // as of its last sign of life
  int told_by = -1;           // the rank that noticed; -1: this one
};

enum class MessageKind {
  kHello,   // secret, rank: the first one of a connection
  kBeat,    // status
  kLost,    // loss: the sender is about to leave
  kFailed,  // loss: the sender itself is
  kBye,     // an orderly end: the sender is no longer to be watched
};

struct PeerMessage {
  MessageKind kind = MessageKind::kBeat;
  std::string secret;
  int rank = -1;
  FlightStatus status;
  Loss loss;
};

// Four bytes of length, least significant first, and a JSON object.
std::string encode(const PeerMessage& message);

// Puts the bytes of a stream together to messages.
class MessageReader {
 public:
  static constexpr size_t kMaxBytes = size_t{64} << 10;  // of one

  void add(std::string_view bytes) { bytes_ += bytes; }
  // The next one, if all of it is there. Throws kBadInput for what no rank sends.
  std::optional<PeerMessage> next();

 private:
  std::string bytes_;
};

}  // namespace hone::parallel
