#include "parallel/liveness/start_watch.h"

#include <gtest/gtest.h>

#include <atomic>

namespace hone::parallel {
namespace {

using namespace std::chrono_literals;

TEST(StartWatch, ReportsAStartThatTakesTooLongOnce) {
  std::atomic<int> calls = 0;
  const StartWatch watch(20ms, [&] { ++calls; });
  while (calls == 0) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(calls, 1);
}

TEST(StartWatch, SaysNothingOfAStartInTimeAndKeepsNobodyWaiting) {
  std::atomic<int> calls = 0;
  const auto begin = std::chrono::steady_clock::now();
  {
    const StartWatch watch(30s, [&] { ++calls; });
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
  EXPECT_EQ(calls, 0);
}

}  // namespace
}  // namespace hone::parallel
