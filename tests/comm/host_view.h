// The nccl backend over fake_nccl.h as the conformance suite wants it: a wait ends when the host
// may read, which over NCCL is a question of its own.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "parallel/comm/backend.h"

namespace hone::test {

class HostViewPending : public parallel::Pending {
 public:
  explicit HostViewPending(std::shared_ptr<parallel::Pending> inner) : inner_(std::move(inner)) {}
  bool test() override { return inner_->test(); }
  void wait() override {
    inner_->wait();
    while (!inner_->test()) std::this_thread::yield();
  }
  void abandon() noexcept override { inner_->abandon(); }

 private:
  std::shared_ptr<parallel::Pending> inner_;
};

class HostView : public parallel::Backend {
 public:
  explicit HostView(std::shared_ptr<parallel::Backend> inner) : inner_(std::move(inner)) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name(); }
  std::shared_ptr<parallel::Pending> start(const parallel::Operation& operation) override {
    return std::make_shared<HostViewPending>(inner_->start(operation));
  }
  void poll() override { inner_->poll(); }
  std::shared_ptr<parallel::Backend> host() override { return inner_->host(); }
  std::shared_ptr<parallel::Backend> split(int color, int key) override {
    return std::make_shared<HostView>(inner_->split(color, key));
  }
  void abort(int exit_code, const std::string& message) override {
    inner_->abort(exit_code, message);
  }
  void finish() override { inner_->finish(); }

 private:
  std::shared_ptr<parallel::Backend> inner_;
};

}  // namespace hone::test
