// The inside of fake_nccl.h: streams, events and operations that meet. All with its lock held.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "parallel/comm/dtype.h"
#include "parallel/comm/nccl_api.h"

namespace hone::test {

// NCCL's numbers.
parallel::DType dtype_of(int type);
parallel::ReduceOp op_of(int op);

// One rank's part of one NCCL operation.
struct FakePart {
  std::string kind;  // "all_reduce", ..., "message"
  const std::byte* in = nullptr;
  std::byte* out = nullptr;
  size_t count = 0;
  parallel::DType dtype = parallel::DType::kUInt8;
  parallel::ReduceOp op = parallel::ReduceOp::kSum;
  int root = 0;
  bool active = false, done = false;
};

// All parts of one operation, by rank of its communicator; of a message: sender, receiver.
struct FakeMeeting {
  std::vector<std::shared_ptr<FakePart>> parts;
  void execute_if_ready();  // moves the data once all parts are active
};

struct FakeEvent {
  int number = 0;
  int64_t recorded = 0, passed = 0;  // tickets
};

// What a stream does next: record or wait for an event's ticket, copy, or parts that meet others.
struct FakeStep {
  enum class Kind { kRecord, kWait, kCopy, kParts };
  Kind kind = Kind::kParts;
  std::shared_ptr<FakeEvent> event = nullptr;
  int64_t ticket = 0;
  std::function<void()> copy = nullptr;
  std::vector<std::pair<std::shared_ptr<FakePart>, std::shared_ptr<FakeMeeting>>> parts = {};
};

struct FakeStream {
  int number = 0;
  std::deque<FakeStep> steps;
};

// A communicator as all its ranks share it, usable once all have joined.
struct FakeGroup {
  int size = 0, joined = 0;
  // Collectives are (-1, -1, number), messages (from, to, number).
  std::map<std::tuple<int, int, int>, std::shared_ptr<FakeMeeting>> meetings;
};

struct FakeComm;
// One call of comm_split by all ranks of a communicator.
struct FakeSplit {
  struct Call {
    int color, key, parent_rank;
    std::shared_ptr<FakeComm> part;
  };
  std::vector<Call> calls;
  bool done = false;
  void finish();  // makes the groups
};

struct FakeComm {
  int number = 0, rank = 0;
  std::shared_ptr<FakeGroup> group;          // null until its split is done
  std::shared_ptr<FakeSplit> splitting;      // the last one
  std::map<std::pair<int, int>, int> calls;  // by direction; collectives as (-1, -1)
  int splits = 0;
  bool ready() const {
    return group && group->joined == group->size && (!splitting || splitting->done);
  }
};

struct FakeRank {
  std::vector<std::string> calls;
  std::map<std::string, int> failures;  // by call, taken at its next use
  int async_error = 0, queries = 0, made = 0, group_depth = 0;
  std::map<const void*, std::shared_ptr<FakeStream>> streams;  // null is the default stream
  std::map<const void*, std::shared_ptr<FakeEvent>> events;
  std::map<const void*, std::shared_ptr<FakeComm>> comms;
  std::map<std::shared_ptr<FakeStream>, FakeStep> grouped;

  // What is on its streams touches no memory any more and waits for nobody.
  void kill();
};

struct FakeDevice {
  std::vector<FakeRank> ranks;
  std::map<std::string, std::shared_ptr<FakeGroup>> groups;  // by unique id
  std::map<std::pair<std::shared_ptr<FakeGroup>, int>, std::shared_ptr<FakeSplit>> splits;
  int64_t tickets = 0;
  int ids = 0;

  void run();  // all streams, as far as they go
};

}  // namespace hone::test
