#include "trainer/publisher.h"

#include <chrono>

#include "core/log.h"

namespace hone::trainer {
namespace {

namespace fs = std::filesystem;

void publish_traced(const Publish& publish, const fs::path& checkpoint, Trace* trace) {
  if (trace != nullptr) trace->name_thread("push " + checkpoint.filename().string());
  const auto begin = std::chrono::steady_clock::now();
  publish(checkpoint);
  if (trace != nullptr) trace->slice("push", "push", begin, std::chrono::steady_clock::now());
}

}  // namespace

Publisher::~Publisher() {
  if (push_.valid()) push_.wait();
}

void Publisher::offer(const fs::path& checkpoint) {
  if (in_flight()) {
    ++num_left_out_;
    spdlog::info("{} is not pushed: {} is still on its way", checkpoint.filename().string(),
                 checkpoint_.filename().string());
    return;
  }
  checkpoint_ = checkpoint;
  push_ = std::async(std::launch::async,
                     [this, checkpoint] { publish_traced(publish_, checkpoint, trace_); });
}

std::optional<fs::path> Publisher::in_flight() {
  if (!push_.valid()) return std::nullopt;
  if (push_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return checkpoint_;
  settle();
  return std::nullopt;
}

void Publisher::wait() {
  if (push_.valid()) settle();
}

void Publisher::settle() {
  try {
    push_.get();
    ++num_pushed_;
  } catch (const std::exception& error) {
    ++num_failed_;
    last_error_ = core::redact(error.what());
    spdlog::warn("{} was not pushed: {}; the next save is pushed again",
                 checkpoint_.filename().string(), last_error_);
  }
}

core::Json Publisher::json() const {
  core::Json json{{"pushed", num_pushed_}, {"failed", num_failed_}, {"left_out", num_left_out_}};
  if (!last_error_.empty()) json["last_error"] = last_error_;
  return json;
}

}  // namespace hone::trainer
