// Pushing checkpoints while training goes on: hub_strategy: every_save.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>
#include <string>

#include "core/json.h"
#include "trainer/trace.h"

namespace hone::trainer {

// Publishes a checkpoint's model files, from a thread of its own; throws when that fails.
using Publish = std::function<void(const std::filesystem::path& checkpoint)>;

// One push at a time, beside the training. A checkpoint saved while the one before is still on its
// way is left out, as the Hugging Face Trainer does. A push that fails is a warning and never the
// end of the run: the next save pushes all there is.
class Publisher {
 public:
  Publisher(Publish publish, Trace* trace) : publish_(std::move(publish)), trace_(trace) {}
  ~Publisher();  // waits for a push under way
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  // Says what became of the push before, then starts this one if none is under way.
  void offer(const std::filesystem::path& checkpoint);
  // The checkpoint being read, which must stay where it is.
  std::optional<std::filesystem::path> in_flight();
  void wait();  // for the push under way, and says what became of it

  // {"pushed": 2, "failed": 1, "left_out": 0, "last_error": "..."}
  core::Json json() const;

 private:
  void settle();  // of the finished push
  const Publish publish_;
  Trace* const trace_;
  std::future<void> push_;
  std::filesystem::path checkpoint_;
  int64_t num_pushed_ = 0, num_failed_ = 0, num_left_out_ = 0;
  std::string last_error_;
};

}  // namespace hone::trainer
