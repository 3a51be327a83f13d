// Asking a running job to stop: SIGTERM and SIGUSR1 (preemption, time limit) and SIGINT (Ctrl-C).
#pragma once

#include <array>
#include <csignal>

namespace hone::trainer {

// While it lives these signals set a flag instead of ending the process; a second SIGINT ends it at
// once with 130. Earlier handlers are put back at the end. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  bool requested() const { return number() != 0; }
  int number() const;  // the first signal that came, 0 if none

 private:
  static constexpr std::array<int, 3> kSignals{SIGTERM, SIGUSR1, SIGINT};
  std::array<struct sigaction, kSignals.size()> earlier_{};
};

}  // namespace hone::trainer
