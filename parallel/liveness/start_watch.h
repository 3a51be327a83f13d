// MPI waits without end for a rank that never comes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace hone::parallel {

// Calls `too_late`, on a thread of its own, once the time has passed, unless it is destroyed
// before.
class StartWatch {
 public:
  StartWatch(std::chrono::milliseconds time, std::function<void()> too_late);
  ~StartWatch();
  StartWatch(const StartWatch&) = delete;
  StartWatch& operator=(const StartWatch&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_over_ = false;
  std::thread thread_;
};

}  // namespace hone::parallel
