// How far a transfer of many files is, told now and then as a line with rate and time left. Safe to
// use from several threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>

namespace hone::hub {

// "1.0 GB of 4.0 GB (25 %), 100 MB/s, 30 s left"
std::string progress_text(uint64_t done, uint64_t total, double seconds);

class TransferProgress {
 public:
  using Tell = std::function<void(const std::string& text)>;
  // `total` in bytes. Tells at most once in `interval`; what takes less is never told.
  TransferProgress(uint64_t total, Tell tell,
                   std::chrono::milliseconds interval = std::chrono::seconds(5));

  // Part `name` has moved `done` bytes; after a new try less than before.
  void set(const std::string& name, uint64_t done);
  uint64_t done() const;

 private:
  using Clock = std::chrono::steady_clock;

  mutable std::mutex mutex_;
  std::map<std::string, uint64_t> parts_;
  uint64_t done_ = 0, total_ = 0;
  Tell tell_;
  std::chrono::milliseconds interval_;
  Clock::time_point start_ = Clock::now(), told_ = start_;
};

}  // namespace hone::hub
