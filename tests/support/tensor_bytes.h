// The bytes of tensors that a thread makes and frees: ranks of a test are threads.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstdint>
#include <memory>

namespace hone::test {

// Hears of the calling thread's tensors from its beginning to its end; those made before must not
// be freed meanwhile.
class TensorBytes {
 public:
  TensorBytes()
      : count_(std::make_shared<Count>()), guard_(c10::DebugInfoKind::PROFILER_STATE, count_) {}

  void restart() { count_->start = count_->peak = count_->live; }
  int64_t peak() const { return count_->peak - count_->start; }  // beyond those at the restart

 private:
  struct Count : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void* /*ptr*/, int64_t bytes, size_t /*total_allocated*/,
                           size_t /*total_reserved*/, c10::Device /*device*/) override {
      live += bytes;
      peak = std::max(peak, live);
    }
    bool memoryProfilingEnabled() const override { return true; }
    int64_t live = 0, start = 0, peak = 0;
  };

  std::shared_ptr<Count> count_;
  c10::DebugInfoGuard guard_;
};

}  // namespace hone::test
