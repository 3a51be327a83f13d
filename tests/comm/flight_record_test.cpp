#include "parallel/comm/flight_record.h"

#include <gtest/gtest.h>

#include <string>

#include "core/error.h"
#include "core/text.h"
#include "parallel/comm/mesh.h"
#include "parallel/comm/recorded.h"
#include "parallel/comm/threads.h"

namespace hone::parallel {
namespace {

TEST(FlightRecord, KeepsTheLastEntriesInOrderAndWhetherTheyEnded) {
  FlightRecord record(3);
  record.set_step(7);
  const int64_t first = record.begin_action("forward embed");
  for (int i = 1; i <= 3; ++i) record.end(record.begin_call("tp", i, "barrier"));
  const int64_t open = record.begin_action("backward head");
  record.end(first);  // the ring has gone past it
  const auto entries = record.entries();
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries.front().number, 3);
  EXPECT_EQ(entries.front().sequence, 2);
  EXPECT_GE(entries.front().ended, entries.front().began);
  EXPECT_EQ(entries.back().number, open);
  EXPECT_EQ(entries.back().ended, 0);
  EXPECT_EQ(entries.back().step, 7);
}

TEST(FlightRecord, StatusIsTheLastActionAndTheLastCallOfTheRingOrBefore) {
  FlightRecord record(2);
  EXPECT_EQ(record.status().action.number, 0);
  EXPECT_EQ(describe(record.status().call), "none");
  record.end(record.begin_call("dp_shard", 4, "all_reduce sum of 12 float32"));
  for (int i = 0; i < 5; ++i) record.begin_action("forward layers." + std::to_string(i));
  const FlightStatus status = record.status();
  EXPECT_EQ(describe(status.action), "forward layers.4");
  EXPECT_EQ(status.action.ended, 0);
  EXPECT_EQ(describe(status.call), "all_reduce sum of 12 float32, number 4 of dp_shard");
  EXPECT_GT(status.call.ended, 0);
}

TEST(FlightRecord, LongTextsAreCutBetweenCharacters) {
  FlightRecord record;
  std::string text;
  while (text.size() < 300) text += "ä";
  record.begin_action(text);
  const std::string kept = record.status().action.text.data();
  EXPECT_GT(kept.size(), 100u);
  EXPECT_EQ(text.substr(0, kept.size()), kept);
  EXPECT_TRUE(core::is_valid_utf8(kept));
}

TEST(FlightRecord, AStatusGoesThroughJsonAndABrokenOneIsAnError) {
  FlightRecord record;
  record.set_step(3);
  record.begin_action("forward embed of micro-batch 1");
  record.end(record.begin_call("pp", 9, "send to rank 1 with tag 0 of 5 float32"));
  const FlightStatus back = flight_status_from(flight_status_json(record.status()));
  EXPECT_EQ(flight_status_json(back), flight_status_json(record.status()));
  EXPECT_EQ(back.step, 3);
  EXPECT_EQ(flight_status_from(core::Json::object()).call.number, 0);
  EXPECT_THROW(flight_status_from(core::Json{{"step", "x"}}), core::Error);
  EXPECT_THROW(flight_status_from(core::Json{{"action", 5}}), core::Error);
}

TEST(Recorded, CollectivesAreNumberedTheSameOnAllRanksWhateverMessagesGoBetween) {
  std::array<std::vector<FlightEntry>, 2> entries;
  run_ranks(2, [&](Communicator& plain) {
    const auto record = std::make_shared<FlightRecord>();
    Communicator comm = recorded(plain, record, "tp");
    const int rank = comm.rank();
    float value = 1, sum = 0;
    comm.all_reduce(&value, &sum, 1, DType::kFloat32);
    if (rank == 0) comm.send(&value, 1, DType::kFloat32, 1);
    if (rank == 1) comm.recv(&value, 1, DType::kFloat32, 0);
    if (rank == 1) comm.send(&value, 1, DType::kFloat32, 0);
    if (rank == 0) comm.recv(&value, 1, DType::kFloat32, 1);
    Request request = comm.start_all_reduce(&value, &sum, 1, DType::kFloat32);
    request.wait();
    EXPECT_EQ(sum, 2);
    entries[static_cast<size_t>(rank)] = record->entries();
  });
  for (const auto& of_rank : entries) {
    ASSERT_EQ(of_rank.size(), 4u);
    EXPECT_EQ(describe(of_rank[0]), "all_reduce sum of 1 float32, number 1 of tp");
    EXPECT_EQ(describe(of_rank[3]), "all_reduce sum of 1 float32, number 2 of tp");
    for (const FlightEntry& entry : of_rank) EXPECT_GT(entry.ended, 0);
    EXPECT_EQ(of_rank[1].sequence, 1);
    EXPECT_EQ(of_rank[2].sequence, 1);
  }
}

TEST(Recorded, ACallThatIsStillWaitedForHasNoEnd) {
  run_ranks(2, [&](Communicator& plain) {
    const auto record = std::make_shared<FlightRecord>();
    Communicator comm = recorded(plain, record, "world");
    if (comm.rank() == 0) {
      float value = 0;
      Request request = comm.start_recv(&value, 1, DType::kFloat32, 1);
      EXPECT_EQ(record->status().call.ended, 0);
      float one = 1, sum = 0;
      comm.all_reduce(&one, &sum, 1, DType::kFloat32);  // now rank 1 sends
      request.wait();
    } else {
      float one = 1, sum = 0;
      comm.all_reduce(&one, &sum, 1, DType::kFloat32);
      comm.send(&one, 1, DType::kFloat32, 0);
    }
    for (const FlightEntry& entry : record->entries()) EXPECT_GT(entry.ended, 0);
  });
}

TEST(Recorded, AMeshEntersTheCallsOfItsAxesByTheirNamesAndThoseOfItsHostByTheWorlds) {
  run_ranks(4, [&](Communicator& plain) {
    const auto record = std::make_shared<FlightRecord>();
    Mesh mesh = make_mesh(recorded(plain, record, "world"), {.dp_shard = 2, .tp = 2}, record);
    float value = 1;
    mesh.host.all_reduce(&value, &value, 1, DType::kFloat32);
    const int64_t before = record->status().call.sequence;
    mesh.shard.all_reduce(&value, &value, 1, DType::kFloat32);
    mesh.tensor.all_reduce(&value, &value, 1, DType::kFloat32);
    mesh.replicate.all_reduce(&value, &value, 1, DType::kFloat32);  // alone: nothing to tell
    mesh.host.all_reduce(&value, &value, 1, DType::kFloat32);
    std::vector<std::string> last;
    const auto entries = record->entries();
    for (size_t i = entries.size() - 3; i < entries.size(); ++i)
      last.emplace_back(entries[i].group.data());
    EXPECT_EQ(last, (std::vector<std::string>{"dp_shard", "tp", "world"}));
    EXPECT_EQ(record->status().call.sequence, before + 1);
  });
}

}  // namespace
}  // namespace hone::parallel
