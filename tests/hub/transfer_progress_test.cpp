#include "hub/transfer_progress.h"

#include <gtest/gtest.h>

#include <vector>

namespace hone::hub {
namespace {

TEST(TransferProgress, SaysShareRateAndTimeLeft) {
  EXPECT_EQ(progress_text(1'000'000'000, 4'000'000'000, 10),
            "1.0 GB of 4.0 GB (25 %), 100.0 MB/s, 30.0 s left");
  EXPECT_EQ(progress_text(0, 4'000'000'000, 10), "0 B of 4.0 GB (0 %)");
  EXPECT_EQ(progress_text(0, 0, 0), "0 B of 0 B");
}

TEST(TransferProgress, ANewTryOfAPartStartsItAgain) {
  std::vector<std::string> told;
  TransferProgress progress(
      100, [&](const std::string& text) { told.push_back(text); }, std::chrono::milliseconds(0));
  progress.set("a", 40);
  progress.set("b", 10);
  progress.set("a", 5);
  EXPECT_EQ(progress.done(), 15U);
  ASSERT_EQ(told.size(), 3U);
  EXPECT_TRUE(told[1].starts_with("50 B of 100 B (50 %)")) << told[1];
}

TEST(TransferProgress, ATransferThatIsOverSoonIsNotTold) {
  bool told = false;
  TransferProgress progress(
      100, [&](const std::string&) { told = true; }, std::chrono::hours(1));
  progress.set("a", 100);
  EXPECT_FALSE(told);
}

}  // namespace
}  // namespace hone::hub
