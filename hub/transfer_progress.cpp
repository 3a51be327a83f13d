#include "hub/transfer_progress.h"

#include <algorithm>

#include "core/text.h"

namespace hone::hub {

std::string progress_text(uint64_t done, uint64_t total, double seconds) {
  const auto size = [](uint64_t bytes) { return core::format_bytes(static_cast<double>(bytes)); };
  std::string text = size(done) + " of " + size(total);
  if (total > 0) {
    const double percent = 100.0 * static_cast<double>(done) / static_cast<double>(total);
    text += " (" + std::to_string(static_cast<int>(percent)) + " %)";
  }
  if (done == 0 || seconds <= 0) return text;
  const double rate = static_cast<double>(done) / seconds;
  const double left = static_cast<double>(total - std::min(done, total)) / rate;
  return text + ", " + core::format_bytes(rate) + "/s, " + core::format_duration(left) + " left";
}

TransferProgress::TransferProgress(uint64_t total, Tell tell, std::chrono::milliseconds interval)
    : total_(total), tell_(std::move(tell)), interval_(interval) {}

void TransferProgress::set(const std::string& name, uint64_t done) {
  const std::scoped_lock lock(mutex_);
  uint64_t& part = parts_[name];
  done_ = done_ - part + done;
  part = done;
  const auto now = Clock::now();
  if (now - told_ < interval_ || !tell_) return;
  told_ = now;
  tell_(progress_text(done_, total_, std::chrono::duration<double>(now - start_).count()));
}

uint64_t TransferProgress::done() const {
  const std::scoped_lock lock(mutex_);
  return done_;
}

}  // namespace hone::hub
