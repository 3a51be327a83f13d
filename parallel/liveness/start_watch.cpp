#include "parallel/liveness/start_watch.h"

#include <csignal>
#include <utility>

namespace hone::parallel {

StartWatch::StartWatch(std::chrono::milliseconds time, std::function<void()> too_late) {
  const auto end = std::chrono::steady_clock::now() + time;
  // Signals are for the main thread.
  sigset_t all{}, earlier{};
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &earlier);
  thread_ = std::thread([this, end, too_late = std::move(too_late)] {
    std::unique_lock lock(mutex_);
    if (changed_.wait_until(lock, end, [this] { return is_over_; })) return;
    lock.unlock();
    too_late();
  });
  ::pthread_sigmask(SIG_SETMASK, &earlier, nullptr);
}

StartWatch::~StartWatch() {
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

}  // namespace hone::parallel
