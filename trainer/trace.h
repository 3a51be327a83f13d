// A recording of what a run did when, in the trace-event format that Perfetto and chrome://tracing
// open (Google, "Trace Event Format").
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

namespace hone::trainer {

class Trace {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Time 0 is `origin`. Events past `max_events` are counted and left out.
  explicit Trace(Time origin, size_t max_events = 200'000);

  Time origin() const { return origin_; }

  // A bar on the calling thread's row; bars of one thread nest by time. `category` groups them.
  void slice(const std::string& name, const char* category, Time begin, Time end);
  void counter(const char* name, Time at, double value);  // a curve above the threads
  void name_thread(const std::string& name);              // the calling thread

  // Atomic and durable. Throws kIo, kCannotCreate.
  void write(const std::filesystem::path& path) const;
  std::string json() const;

 private:
  struct Event {
    std::string name;
    const char* category = nullptr;  // nullptr: a counter
    double begin = 0, duration = 0;  // microseconds since the origin
    double value = 0;
    int64_t thread = 0;
  };
  struct Thread {
    int64_t id = 0;
    std::string name;
  };
  double microseconds(Time at) const;
  void add(Event event);

  const Time origin_;
  const size_t max_events_;
  mutable std::mutex mutex_;
  std::vector<Event> events_;
  std::vector<Thread> threads_;
  size_t num_left_out_ = 0;
};

}  // namespace hone::trainer
