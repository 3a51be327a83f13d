#include "data/ordered_map.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

namespace hone::data {
namespace {

// Counts how many items are read and not yet consumed.
struct Source {
  int size = 0, fails_at = -1, next = 0;
  std::atomic<int>* under_way = nullptr;
  std::atomic<int>* most = nullptr;
  std::optional<int> operator()() {
    if (next == fails_at) throw std::runtime_error("read " + std::to_string(next));
    if (next == size) return std::nullopt;
    const int now = ++*under_way;
    if (now > *most) *most = now;
    return next++;
  }
};

class OrderedMapTest : public testing::Test {
 protected:
  // What was consumed, and the message of the error if one came out.
  std::vector<int> run(Source source, int work_fails_at, size_t max_cost) {
    source.under_way = &under_way_;
    source.most = &most_;
    const auto work = [&](int item) {
      // Earlier items take longer, so that later ones are done first.
      if (item % 7 == 0) std::this_thread::yield();
      if (item == work_fails_at) throw std::runtime_error("work " + std::to_string(item));
      return item * 10;
    };
    const auto cost = [](int) { return size_t{1}; };
    std::vector<int> consumed;
    OrderedMap map(source, work, cost, max_cost);
    try {
      map.run(4, [&](int result) {
        --under_way_;
        consumed.push_back(result);
      });
    } catch (const std::runtime_error& error) {
      error_ = error.what();
    }
    return consumed;
  }
  std::atomic<int> under_way_ = 0, most_ = 0;
  std::string error_;
};

TEST_F(OrderedMapTest, ResultsComeInTheOrderOfReadingAndFewAreUnderWay) {
  const std::vector<int> consumed = run({.size = 2000}, -1, 5);
  ASSERT_EQ(consumed.size(), 2000U);
  for (int i = 0; i < 2000; ++i) ASSERT_EQ(consumed[static_cast<size_t>(i)], i * 10);
  EXPECT_LE(most_, 7);  // one above the limit, and one handed over but not yet counted
  EXPECT_TRUE(run({.size = 0}, -1, 5).empty());
}

TEST_F(OrderedMapTest, FirstErrorInOrderEndsTheRunAfterWhatCameBefore) {
  EXPECT_EQ(run({.size = 100}, 31, 50).size(), 31U);
  EXPECT_EQ(error_, "work 31");
  EXPECT_EQ(run({.size = 100, .fails_at = 40}, -1, 50).size(), 40U);
  EXPECT_EQ(error_, "read 40");
  EXPECT_EQ(run({.size = 100, .fails_at = 40}, 39, 50).size(), 39U);
  EXPECT_EQ(error_, "work 39");
}

TEST_F(OrderedMapTest, AnItemOverTheLimitStillGoesThrough) {
  EXPECT_EQ(run({.size = 10}, -1, 0).size(), 10U);
}

}  // namespace
}  // namespace hone::data
