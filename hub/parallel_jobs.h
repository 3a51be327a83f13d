// A few jobs at once, for work that waits on a network.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

namespace hone::hub {

// Runs job(i) for i in [0, count) on at most `num_threads` threads. The first exception sets
// `stop`, no further job is started, and it is thrown again once all threads have ended. A `stop`
// set by somebody else ends the work too.
void run_parallel(size_t count, size_t num_threads, std::atomic<bool>& stop,
                  const std::function<void(size_t)>& job);

}  // namespace hone::hub
