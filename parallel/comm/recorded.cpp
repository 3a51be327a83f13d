#include "parallel/comm/recorded.h"

#include <utility>

namespace hone::parallel {
namespace {

class RecordedPending : public Pending {
 public:
  RecordedPending(std::shared_ptr<Pending> inner, std::shared_ptr<FlightRecord> record,
                  int64_t number)
      : inner_(std::move(inner)), record_(std::move(record)), number_(number) {}

  bool test() override {
    const bool is_done = inner_->test();
    if (is_done) end();
    return is_done;
  }
  void wait() override {
    inner_->wait();
    end();
  }
  // It did not end.
  void abandon() noexcept override { inner_->abandon(); }

 private:
  void end() {
    if (const int64_t number = std::exchange(number_, 0); number != 0) record_->end(number);
  }

  std::shared_ptr<Pending> inner_;
  std::shared_ptr<FlightRecord> record_;
  int64_t number_;
};

class RecordedBackend : public Backend {
 public:
  RecordedBackend(std::shared_ptr<Backend> inner, std::shared_ptr<FlightRecord> record,
                  std::string group)
      : inner_(std::move(inner)), record_(std::move(record)), group_(std::move(group)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name(); }

  std::shared_ptr<Pending> start(const Operation& operation) override {
    const int64_t number =
        record_->begin_call(group_, ++counter_of(operation.kind), describe(operation));
    return std::make_shared<RecordedPending>(inner_->start(operation), record_, number);
  }

  void poll() override { inner_->poll(); }
  void synchronize() override { inner_->synchronize(); }
  std::shared_ptr<Backend> host() override {
    std::shared_ptr<Backend> host = inner_->host();
    if (host == inner_) return shared_from_this();
    if (!host_) host_ = std::make_shared<RecordedBackend>(std::move(host), record_, group_);
    return host_;
  }
  std::shared_ptr<Backend> split(int color, int key) override { return inner_->split(color, key); }
  void abort(int exit_code, const std::string& message) override {
    inner_->abort(exit_code, message);
  }
  void finish() override { inner_->finish(); }

 private:
  int64_t& counter_of(OpKind kind) {
    if (is_collective(kind)) return num_collectives_;
    return kind == OpKind::kSend ? num_sends_ : num_receives_;
  }

  std::shared_ptr<Backend> inner_, host_;
  std::shared_ptr<FlightRecord> record_;
  std::string group_;
  int64_t num_collectives_ = 0, num_sends_ = 0, num_receives_ = 0;
};

}  // namespace

Communicator recorded(const Communicator& inner, std::shared_ptr<FlightRecord> record,
                      const std::string& group) {
  return Communicator(std::make_shared<RecordedBackend>(inner.backend(), std::move(record), group));
}

}  // namespace hone::parallel
