#include "kernels/allocator.h"

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/error.h"

namespace hone::kernels {
namespace {

constexpr size_t kCachedFrom = size_t{256} << 10;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kAlignment = 64;
// What is kept beside the most that was ever used at a time: an eighth of that, and of a small
// working set enough that it is never given back.
constexpr int64_t kKeptShare = 8;
constexpr int64_t kKeptAtLeast = int64_t{32} << 20;

constexpr size_t kPage = 4096;

// Sizes a sixteenth of an octave apart, so a block is at most 6.25 % larger than asked for.
size_t size_class(size_t bytes) {
  const size_t step = std::max<size_t>(std::bit_floor(bytes) / 16, kPage);
  return (bytes + step - 1) / step * step;
}

// Begins at a huge page; what is over the last whole one is in small pages, and nothing is behind.
void* map_huge(size_t bytes) {
  void* pages =
      mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  auto* const mapped = static_cast<std::byte*>(pages);
  const size_t before = -reinterpret_cast<uintptr_t>(pages) % kHugePage;
  if (before > 0) munmap(mapped, before);
  if (before < kHugePage) munmap(mapped + before + bytes, kHugePage - before);
  madvise(mapped + before, bytes, MADV_HUGEPAGE);
  return mapped + before;
}

void* map_block(size_t bytes) {
  return bytes < kHugePage ? std::aligned_alloc(kPage, bytes) : map_huge(bytes);
}

void unmap_block(void* block, size_t bytes) {
  if (bytes < kHugePage) {
    std::free(block);
  } else {
    munmap(block, bytes);
  }
}

class BlockCache {
 public:
  void* take(size_t bytes) {
    const size_t size = size_class(bytes);
    const std::lock_guard lock(mutex_);
    std::vector<void*>& free_blocks = free_[size];
    void* block = nullptr;
    if (!free_blocks.empty()) {
      block = free_blocks.back();
      free_blocks.pop_back();
      stats_.cached_bytes -= static_cast<int64_t>(size);
    } else {
      make_room(static_cast<int64_t>(size));
      block = map_block(size);
      if (block == nullptr) {
        release_locked();
        block = map_block(size);
      }
      if (block == nullptr) {
        core::fail(core::ErrorKind::kUnavailable,
                   {.what = "out of memory",
                    .got = std::to_string(size) + " bytes asked for",
                    .hint = "lower micro_batch_size or max_length, or set gradient_checkpointing"});
      }
    }
    live_[block] = size;
    stats_.live_bytes += static_cast<int64_t>(size);
    stats_.peak_live_bytes = std::max(stats_.peak_live_bytes, stats_.live_bytes);
    return block;
  }

  // False if the block is none of ours.
  bool give(void* block) {
    const std::lock_guard lock(mutex_);
    const auto found = live_.find(block);
    if (found == live_.end()) return false;
    const size_t size = found->second;
    live_.erase(found);
    stats_.live_bytes -= static_cast<int64_t>(size);
    free_[size].push_back(block);
    stats_.cached_bytes += static_cast<int64_t>(size);
    return true;
  }

  void release() {
    const std::lock_guard lock(mutex_);
    release_locked();
  }

  AllocatorStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

 private:
  // Unused blocks, the largest first, go back to the system where the new one would make all of
  // them together much more than is used at a time: phases of a step need blocks of other sizes.
  void make_room(int64_t size) {
    const int64_t used = std::max(stats_.peak_live_bytes, stats_.live_bytes + size);
    const int64_t limit = used + std::max(used / kKeptShare, kKeptAtLeast);
    for (auto blocks = free_.rbegin(); blocks != free_.rend(); ++blocks) {
      const auto& [block_size, free_blocks] = *blocks;
      while (!free_blocks.empty() && stats_.live_bytes + stats_.cached_bytes + size > limit) {
        unmap_block(blocks->second.back(), block_size);
        blocks->second.pop_back();
        stats_.cached_bytes -= static_cast<int64_t>(block_size);
      }
    }
  }

  void release_locked() {
    for (auto& [size, blocks] : free_) {
      for (void* block : blocks) unmap_block(block, size);
      blocks.clear();
    }
    stats_.cached_bytes = 0;
  }

  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;  // by size class
  std::unordered_map<void*, size_t> live_;
  AllocatorStats stats_;
};

// LibTorch keeps a pointer to the allocator for the life of the process, and tensors with static
// storage are freed after other statics: the cache is never destroyed.
BlockCache& cache() {
  static auto* const blocks = new BlockCache;
  return *blocks;
}

void free_small(void* block) { std::free(block); }
void free_cached(void* block) { cache().give(block); }
void free_any(void* block) {
  if (!cache().give(block)) std::free(block);
}

class CachingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, nullptr, &free_small, cpu};
    if (bytes >= kCachedFrom) {
      void* block = cache().take(bytes);
      return {block, block, &free_cached, cpu};
    }
    void* block = nullptr;
    if (posix_memalign(&block, kAlignment, bytes) != 0) {
      core::fail(core::ErrorKind::kUnavailable,
                 {.what = "out of memory", .got = std::to_string(bytes) + " bytes asked for"});
    }
    return {block, block, &free_small, cpu};
  }
  // Raw pointers come back without their size.
  c10::DeleterFnPtr raw_deleter() const override { return &free_any; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
};

}  // namespace

void install_caching_allocator() {
  static auto* const allocator = new CachingAllocator;
  c10::SetCPUAllocator(allocator, /*priority=*/1);
}

at::Tensor lazy_zeros(int64_t numel, at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  const size_t bytes = static_cast<size_t>(numel) * sizeof(float);
  if (bytes < kHugePage || !device.is_cpu()) return at::zeros({numel}, options);
  const size_t mapped = bytes + kHugePage;  // room to begin at a huge page
  void* pages = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) {
    core::fail(core::ErrorKind::kUnavailable,
               {.what = "out of memory", .got = std::to_string(bytes) + " bytes asked for"});
  }
  const auto begin = (reinterpret_cast<uintptr_t>(pages) + kHugePage - 1) / kHugePage * kHugePage;
  auto* const data = reinterpret_cast<void*>(begin);
  madvise(data, bytes, MADV_HUGEPAGE);
  return at::from_blob(
      data, {numel}, [pages, mapped](void*) { munmap(pages, mapped); }, options);
}

void release_cached_memory() { cache().release(); }

AllocatorStats allocator_stats() { return cache().stats(); }

}  // namespace hone::kernels
