#include "parallel/comm/timed.h"

#include <chrono>
#include <utility>

namespace hone::parallel {
namespace {

using Clock = std::chrono::steady_clock;

// Adds its own life.
class Stopwatch {
 public:
  explicit Stopwatch(AxisUse& use) : use_(use) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() { use_.seconds += std::chrono::duration<double>(Clock::now() - begin_).count(); }

 private:
  AxisUse& use_;
  Clock::time_point begin_ = Clock::now();
};

class MeasuredPending : public Pending {
 public:
  MeasuredPending(std::shared_ptr<Pending> inner, std::shared_ptr<AxisUse> use)
      : inner_(std::move(inner)), use_(std::move(use)) {}

  bool test() override {
    const Stopwatch watch(*use_);
    return inner_->test();
  }
  void wait() override {
    const Stopwatch watch(*use_);
    inner_->wait();
  }
  void abandon() noexcept override { inner_->abandon(); }

 private:
  std::shared_ptr<Pending> inner_;
  std::shared_ptr<AxisUse> use_;
};

class MeasuredBackend : public Backend {
 public:
  MeasuredBackend(std::shared_ptr<Backend> inner, std::shared_ptr<AxisUse> use)
      : inner_(std::move(inner)), use_(std::move(use)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name(); }

  std::shared_ptr<Pending> start(const Operation& operation) override {
    use_->bytes += bytes_sent(operation, size());
    const Stopwatch watch(*use_);
    return std::make_shared<MeasuredPending>(inner_->start(operation), use_);
  }

  void poll() override { inner_->poll(); }
  void synchronize() override {
    const Stopwatch watch(*use_);
    inner_->synchronize();
  }
  std::shared_ptr<Backend> host() override { return inner_->host(); }
  std::shared_ptr<Backend> split(int color, int key) override { return inner_->split(color, key); }
  void abort(int exit_code, const std::string& message) override {
    inner_->abort(exit_code, message);
  }
  void finish() override { inner_->finish(); }

 private:
  std::shared_ptr<Backend> inner_;
  std::shared_ptr<AxisUse> use_;
};

}  // namespace

int64_t bytes_sent(const Operation& operation, int num_ranks) {
  const auto bytes_of = [&](int64_t count) {
    return count * static_cast<int64_t>(dtype_size(operation.dtype));
  };
  const int64_t others = num_ranks - 1;
  switch (operation.kind) {
    case OpKind::kAllReduce:
      return 2 * bytes_of(operation.count) * others / num_ranks;
    case OpKind::kReduceScatter:
    case OpKind::kAllGather:
      return bytes_of(total(operation.counts)) * others / num_ranks;
    case OpKind::kAllToAll:
      return bytes_of(operation.count) * others;
    case OpKind::kBroadcast:
      return others > 0 ? bytes_of(operation.count) : 0;
    case OpKind::kSend:
      return bytes_of(operation.count);
    case OpKind::kRecv:
    case OpKind::kBarrier:
      return 0;
  }
  return 0;
}

Communicator timed(const Communicator& inner, std::shared_ptr<AxisUse> use) {
  return Communicator(std::make_shared<MeasuredBackend>(inner.backend(), std::move(use)));
}

}  // namespace hone::parallel
