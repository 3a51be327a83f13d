// A caching CPU allocator for LibTorch: big blocks are kept and mapped with huge pages, because a
// training step that maps and unmaps its buffers spends up to a third of its time in the kernel.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace hone::kernels {

void install_caching_allocator();  // once, before the first tensor
void release_cached_memory();      // gives unused blocks back to the system

// float32 zeros [numel]; on the CPU in pages that the system hands out when they are first used:
// for buffers that live as long as the run and are not used before its first step. Throws
// kUnavailable when there is no address space.
at::Tensor lazy_zeros(int64_t numel, at::Device device);

struct AllocatorStats {
  int64_t live_bytes = 0, cached_bytes = 0, peak_live_bytes = 0;
};
AllocatorStats allocator_stats();

}  // namespace hone::kernels
