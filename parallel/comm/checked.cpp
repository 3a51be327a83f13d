#include "parallel/comm/checked.h"

#include <algorithm>
#include <exception>
#include <list>
#include <optional>
#include <thread>
#include <utility>

#include "core/error.h"
#include "parallel/comm/check_exchange.h"

namespace hone::parallel {
namespace {

using core::ErrorKind;
using core::fail;
using Clock = std::chrono::steady_clock;

class CheckedPending;

// What the checked communicators of a rank share.
struct Control {
  std::shared_ptr<Backend> channel;  // all ranks of the outermost communicator
  std::chrono::milliseconds timeout;
  std::list<std::shared_ptr<CheckedPending>> waiting;  // not yet started, in the order of calls
  std::exception_ptr broken;

  void advance();
  // Nothing can be done any more: what waits is given up.
  void break_with(std::exception_ptr error);
  void throw_if_broken() const {
    if (broken) std::rethrow_exception(broken);
  }
};

// A collective that starts once all ranks have called it.
class CheckedPending : public Pending {
 public:
  CheckedPending(std::shared_ptr<Control> control, std::shared_ptr<Backend> inner,
                 Operation operation, std::vector<int> members, const Signature& mine)
      : control_(std::move(control)),
        inner_(std::move(inner)),
        operation_(std::move(operation)),
        group_(mine.group),
        exchange_(control_->channel, std::move(members), mine, control_->timeout) {}

  uint64_t group() const { return group_; }

  // Whether it is started now.
  bool start_if_agreed() {
    if (!exchange_.test()) return false;
    running_ = inner_->start(operation_);
    return true;
  }

  bool test() override {
    if (done_) return true;
    control_->throw_if_broken();
    control_->advance();
    done_ = running_ && running_->test();
    return done_;
  }

  void wait() override {
    const auto end = Clock::now() + control_->timeout;
    while (!test()) {
      if (Clock::now() > end) give_up();
      std::this_thread::yield();
    }
  }

  void abandon() noexcept override {
    exchange_.abandon();
    if (running_ && !done_) running_->abandon();
    control_->waiting.remove_if([this](const auto& pending) { return pending.get() == this; });
  }

 private:
  [[noreturn]] void give_up() {
    try {
      if (!running_) exchange_.time_out();
      fail(ErrorKind::kPeerLost, {.what = "the other ranks have called this, but it does not end",
                                  .where = describe(operation_)});
    } catch (...) {
      control_->break_with(std::current_exception());
      throw;
    }
  }

  std::shared_ptr<Control> control_;
  std::shared_ptr<Backend> inner_;
  Operation operation_;
  uint64_t group_;
  SignatureExchange exchange_;
  std::shared_ptr<Pending> running_;
  bool done_ = false;
};

// Collectives of one group start in the order of their calls.
void Control::advance() {
  std::vector<uint64_t> blocked;
  try {
    for (auto at = waiting.begin(); at != waiting.end();) {
      const bool behind =
          std::find(blocked.begin(), blocked.end(), (*at)->group()) != blocked.end();
      if (!behind && (*at)->start_if_agreed()) {
        at = waiting.erase(at);
      } else {
        blocked.push_back((*at)->group());
        ++at;
      }
    }
  } catch (...) {
    break_with(std::current_exception());
    throw;
  }
}

void Control::break_with(std::exception_ptr error) {
  broken = std::move(error);
  const auto given_up = std::exchange(waiting, {});
  for (const auto& pending : given_up) pending->abandon();
}

// A message between two ranks: not compared, but not waited for without end either.
class TimedPending : public Pending {
 public:
  TimedPending(std::shared_ptr<Control> control, std::shared_ptr<Pending> running, std::string what)
      : control_(std::move(control)), running_(std::move(running)), what_(std::move(what)) {}

  bool test() override {
    control_->throw_if_broken();
    control_->advance();
    return running_->test();
  }
  void wait() override {
    const auto end = Clock::now() + control_->timeout;
    while (!test()) {
      if (Clock::now() > end) {
        fail(ErrorKind::kPeerLost,
             {.what = "the other rank does not answer",
              .where = what_,
              .hint = "waited " + std::to_string(control_->timeout.count()) + " ms"});
      }
      std::this_thread::yield();
    }
  }
  void abandon() noexcept override { running_->abandon(); }

 private:
  std::shared_ptr<Control> control_;
  std::shared_ptr<Pending> running_;
  std::string what_;
};

class CheckedBackend : public Backend {
 public:
  CheckedBackend(std::shared_ptr<Control> control, std::shared_ptr<Backend> inner, uint64_t group,
                 std::vector<int> members)
      : control_(std::move(control)),
        inner_(std::move(inner)),
        group_(group),
        members_(std::move(members)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name(); }

  std::shared_ptr<Pending> start(const Operation& operation) override {
    control_->throw_if_broken();
    if (!is_collective(operation.kind)) {
      return std::make_shared<TimedPending>(control_, inner_->start(operation),
                                            describe(operation));
    }
    auto pending = std::make_shared<CheckedPending>(control_, inner_, operation, members_,
                                                    sign(operation, describe(operation)));
    control_->waiting.push_back(pending);
    control_->advance();
    return pending;
  }

  void poll() override {
    if (!control_->broken) control_->advance();
    inner_->poll();
  }
  void synchronize() override { inner_->synchronize(); }
  std::shared_ptr<Backend> host() override { return inner_->host(); }

  std::shared_ptr<Backend> split(int color, int key) override {
    agree("split");
    const auto here = split_members(*inner_->host(), color, key);
    std::vector<int> members;
    for (const int r : here) members.push_back(members_[static_cast<size_t>(r)]);
    const uint64_t group =
        mix_hash(mix_hash(group_, static_cast<uint64_t>(calls_)), static_cast<uint64_t>(color));
    return std::make_shared<CheckedBackend>(control_, inner_->split(color, key), group,
                                            std::move(members));
  }

  void abort(int exit_code, const std::string& message) override {
    inner_->abort(exit_code, message);
  }

  void finish() override {
    agree("finish");
    inner_->finish();
  }

 private:
  Signature sign(const Operation& operation, const std::string& name) {
    return make_signature(operation, name, group_, ++calls_, members_);
  }

  // A call that is no operation of the backend: all agree on it, then a barrier's worth of nothing.
  void agree(const std::string& name) {
    const Operation nothing;
    auto pending =
        std::make_shared<CheckedPending>(control_, inner_, nothing, members_, sign(nothing, name));
    control_->waiting.push_back(pending);
    pending->wait();
  }

  std::shared_ptr<Control> control_;
  std::shared_ptr<Backend> inner_;
  uint64_t group_;
  std::vector<int> members_;  // as ranks of the channel
  int64_t calls_ = 0;
};

}  // namespace

Communicator checked(const Communicator& inner, const CheckOptions& options) {
  auto control = std::make_shared<Control>();
  control->channel = inner.backend()->host()->split(0, inner.rank());
  control->timeout = options.timeout;
  std::vector<int> members(static_cast<size_t>(inner.size()));
  for (size_t r = 0; r < members.size(); ++r) members[r] = static_cast<int>(r);
  return Communicator(
      std::make_shared<CheckedBackend>(std::move(control), inner.backend(), 0, std::move(members)));
}

}  // namespace hone::parallel
