#include "kernels/allocator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace hone::kernels {
namespace {

TEST(Allocator, KeepsBigBlocksAlignedAndHandsThemOutAgain) {
  install_caching_allocator();
  release_cached_memory();
  const AllocatorStats before = allocator_stats();
  const void* first = nullptr;
  {
    const at::Tensor x = at::empty({3 << 20}, at::kFloat);
    first = x.data_ptr();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % (2 << 20), 0u);
    const int64_t live = allocator_stats().live_bytes - before.live_bytes;
    EXPECT_GE(live, 12 << 20);
    EXPECT_LE(live, (12 << 20) * 9 / 8 + (2 << 20));
  }
  EXPECT_EQ(allocator_stats().live_bytes, before.live_bytes);
  EXPECT_GE(allocator_stats().cached_bytes, 12 << 20);
  {
    const at::Tensor again = at::empty({(3 << 20) - 5}, at::kFloat);
    EXPECT_EQ(again.data_ptr(), first);
    EXPECT_EQ(allocator_stats().cached_bytes, 0);
  }
  release_cached_memory();
  EXPECT_EQ(allocator_stats().cached_bytes, 0);
}

TEST(Allocator, ABlockIsLittleLargerThanAskedFor) {
  install_caching_allocator();
  for (const int64_t bytes : {300 << 10, 1 << 20, (2 << 20) + 4, 9 << 18, 25 << 18, 100 << 20}) {
    const int64_t before = allocator_stats().live_bytes;
    const at::Tensor x = at::empty({bytes}, at::kByte);
    x.fill_(1);
    const int64_t live = allocator_stats().live_bytes - before;
    EXPECT_GE(live, bytes);
    EXPECT_LE(static_cast<double>(live), 1.0625 * static_cast<double>(bytes) + 4096);
  }
  release_cached_memory();
}

TEST(Allocator, SmallAndEmptyTensorsWork) {
  install_caching_allocator();
  const int64_t live = allocator_stats().live_bytes;
  const at::Tensor small = at::ones({100}), empty = at::empty({0});
  EXPECT_EQ(reinterpret_cast<uintptr_t>(small.data_ptr()) % 64, 0u);
  EXPECT_EQ(small.sum().item<float>(), 100.0f);
  EXPECT_EQ(allocator_stats().live_bytes, live);
}

TEST(Allocator, LazyZerosAreZeroBeginAtAHugePageAndCountAsNoBlock) {
  const int64_t live = allocator_stats().live_bytes;
  for (const int64_t numel : {int64_t{0}, int64_t{10}, (int64_t{1} << 20) + 3}) {
    const at::Tensor zeros = lazy_zeros(numel, at::kCPU);
    EXPECT_EQ(zeros.numel(), numel);
    EXPECT_EQ(zeros.count_nonzero().item<int64_t>(), 0);
    zeros.add_(1.0);
    EXPECT_EQ(zeros.sum().item<double>(), static_cast<double>(numel));
    if (numel > (1 << 19)) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(zeros.data_ptr()) % (2 << 20), 0u);
      EXPECT_EQ(allocator_stats().live_bytes, live);
    }
  }
}

TEST(Allocator, TheCacheIsBounded) {
  install_caching_allocator();
  release_cached_memory();
  for (int64_t i = 1; i < 60; ++i) at::empty({i << 20}, at::kFloat);
  const AllocatorStats stats = allocator_stats();
  EXPECT_LE(
      stats.cached_bytes + stats.live_bytes,
      stats.peak_live_bytes + std::max<int64_t>(int64_t{32} << 20, stats.peak_live_bytes / 8));
  release_cached_memory();
}

}  // namespace
}  // namespace hone::kernels
