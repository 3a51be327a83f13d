#include "trainer/signals.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace hone::trainer {
namespace {

constexpr int kExitInterrupted = 130;  // 128 + SIGINT, as shells report it

// A handler can reach nothing but a global.
std::atomic<int> first_signal{0};
std::atomic<int> num_interrupts{0};
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void note_signal(int number) {
  const int saved_errno = errno;
  int none = 0;
  first_signal.compare_exchange_strong(none, number);
  if (number == SIGINT && num_interrupts.fetch_add(1) > 0) ::_exit(kExitInterrupted);
  errno = saved_errno;
}

}  // namespace

StopSignals::StopSignals() {
  first_signal = 0;
  num_interrupts = 0;
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &action, &earlier_[i]);
}

StopSignals::~StopSignals() {
  for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &earlier_[i], nullptr);
}

int StopSignals::number() const { return first_signal; }

}  // namespace hone::trainer
