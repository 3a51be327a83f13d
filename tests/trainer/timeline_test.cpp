#include "trainer/timeline.h"

#include <gtest/gtest.h>

namespace hone::trainer {
namespace {

TEST(Timeline, PartsAndActionsStandInTheFlightRecordFromBeginToEnd) {
  const auto record = std::make_shared<parallel::FlightRecord>();
  Timeline timeline(nullptr, record);
  {
    const Timeline::Span save = timeline.part(Part::kSave);
    const Timeline::Span action =
        timeline.action(Part::kForward, [] { return std::string("forward layers.1"); });
    const Timeline::Span detail = timeline.detail("inside");
    EXPECT_STREQ(record->status().action.text.data(), "forward layers.1");
    EXPECT_EQ(record->status().action.ended, 0);
  }
  const auto entries = record->entries();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_STREQ(entries[0].text.data(), "save");
  for (const parallel::FlightEntry& entry : entries) EXPECT_GE(entry.ended, entry.began);
}

TEST(Timeline, WithoutARecordOrATraceNobodyAsksForNames) {
  Timeline timeline;
  const Timeline::Span span = timeline.action(Part::kForward, []() -> std::string {
    ADD_FAILURE() << "a name costs time in every step";
    return "";
  });
}

}  // namespace
}  // namespace hone::trainer
