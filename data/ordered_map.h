// A serial source, parallel work, a serial sink: in order, in bounded memory.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace hone::data {

// Calls `consume(work(item))` for every item of `read` (which returns a std::optional, empty at the
// end), in the order they were read. `work` runs in `num_threads` threads at once, `read` in one of
// them at a time, `consume` in the caller's. `cost(item)` is what an item holds, in bytes; reading
// waits while more than `max_cost` is under way, though never for the item that is next in turn.
// The first exception in that order is rethrown, when all threads have ended.
template <typename Read, typename Work, typename Cost>
class OrderedMap {
 public:
  using Item = typename std::invoke_result_t<Read&>::value_type;
  using Result = std::invoke_result_t<const Work&, Item>;

  OrderedMap(Read& read, const Work& work, const Cost& cost, size_t max_cost)
      : read_(read), work_(work), cost_(cost), max_cost_(max_cost) {}

  template <typename Consume>
  void run(size_t num_threads, const Consume& consume) {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < std::max<size_t>(1, num_threads); ++i)
      threads.emplace_back([this] { run_worker(); });
    try {
      while (std::optional<Result> result = wait_for_next()) consume(std::move(*result));
    } catch (...) {
      stop();
      throw;
    }
  }

 private:
  struct Done {
    std::optional<Result> result;
    std::exception_ptr error;
    size_t cost = 0;
  };

  void run_worker() {
    while (true) {
      size_t index = 0;
      Done done;
      std::optional<Item> item;
      {
        std::lock_guard reading(read_mutex_);
        if (!wait_for_room()) return;
        try {
          item = read_();
        } catch (...) {
          done.error = std::current_exception();
        }
        index = begin_item(item, done);
        if (!item && !done.error) return;
      }
      if (item) {
        try {
          done.result = work_(std::move(*item));
        } catch (...) {
          done.error = std::current_exception();
        }
      }
      std::lock_guard lock(mutex_);
      done_.emplace(index, std::move(done));
      changed_.notify_all();
    }
  }

  bool wait_for_room() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      return stopped_ || ended_ || cost_under_way_ <= max_cost_ || num_read_ == num_consumed_;
    });
    return !stopped_ && !ended_;
  }

  size_t begin_item(const std::optional<Item>& item, Done& done) {
    std::lock_guard lock(mutex_);
    if (!item) {
      ended_ = true;
      changed_.notify_all();
      if (!done.error) return num_read_;
    } else {
      done.cost = cost_(*item);
      cost_under_way_ += done.cost;
    }
    return num_read_++;
  }

  std::optional<Result> wait_for_next() {
    std::unique_lock lock(mutex_);
    const auto is_done = [&] { return !done_.empty() && done_.begin()->first == num_consumed_; };
    changed_.wait(lock, [&] { return is_done() || (ended_ && num_consumed_ == num_read_); });
    if (!is_done()) return std::nullopt;
    Done next = std::move(done_.begin()->second);
    done_.erase(done_.begin());
    cost_under_way_ -= next.cost;
    ++num_consumed_;
    changed_.notify_all();
    if (next.error) std::rethrow_exception(next.error);
    return std::move(next.result);
  }

  void stop() {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }

  Read& read_;
  const Work& work_;
  const Cost& cost_;
  const size_t max_cost_;
  std::mutex read_mutex_, mutex_;
  std::condition_variable changed_;
  std::map<size_t, Done> done_;
  size_t cost_under_way_ = 0, num_read_ = 0, num_consumed_ = 0;
  bool ended_ = false, stopped_ = false;
};

}  // namespace hone::data
