// What the threads of run_ranks share: one lock, the operations that wait for ranks, and who has
// failed.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "parallel/comm/backend.h"

namespace hone::parallel {

// One operation of several ranks. It is ready when all of them have brought their part; then the
// work is cut in pieces, and whoever waits or tests does pieces until there are none.
struct Meeting {
  OpKind kind = OpKind::kBarrier;
  std::vector<int> members;  // in the world's ranks
  std::vector<Operation> parts;
  std::vector<bool> here;
  size_t arrived = 0;
  bool withdrawn = false;                         // one side of a message has given up
  int64_t pieces = 0, claimed = 0, finished = 0;  // under the world's lock

  bool ready() const { return arrived == members.size(); }
  bool done() const { return ready() && finished == pieces; }
};

struct World {
  explicit World(int size);

  std::mutex lock;
  std::condition_variable changed;

  // Meetings that still miss somebody. Collectives are found by (group, number of the call),
  // messages by (group, from, to, tag) in order.
  std::map<std::pair<int64_t, int64_t>, std::shared_ptr<Meeting>> collectives;
  std::map<std::tuple<int64_t, int, int, int>, std::deque<std::shared_ptr<Meeting>>> messages;
  // Groups made by split: (parent, number of the split, color) to the group's number.
  std::map<std::tuple<int64_t, int64_t, int>, int64_t> groups;
  int64_t next_group = 1;

  int failed_rank = -1;
  int exit_code = 0;
  std::string failure;                            // why nothing more can happen; empty while well
  std::vector<bool> left;                         // the rank's function has returned
  std::vector<std::shared_ptr<Meeting>> waiting;  // what a rank is blocked in, null when it is not

  // All of these are called with the lock held.
  void fail(int rank, int exit_code, const std::string& why);
  // Throws when the meeting can't become ready any more: a failure, a member that left, or all
  // ranks waiting.
  void check_hope(const Meeting& meeting);

 private:
  bool deadlocked() const;
};

// A rank's communicator over the whole world.
std::shared_ptr<Backend> make_thread_backend(const std::shared_ptr<World>& world, int rank);

// meeting.pieces; throws kInternal where the parts do not fit together.
int64_t count_pieces(const Meeting& meeting);
// Does piece `index` of a meeting that is ready. Pieces are independent of each other.
void do_piece(const Meeting& meeting, int64_t index);

}  // namespace hone::parallel
