#include "parallel/comm/threads.h"

#include <exception>
#include <thread>
#include <utility>

#include "core/error.h"
#include "parallel/comm/split_group.h"
#include "parallel/comm/thread_world.h"

namespace hone::parallel {

using core::Error;
using core::ErrorKind;

World::World(int size)
    : left(static_cast<size_t>(size), false), waiting(static_cast<size_t>(size)) {}

void World::fail(int rank, int code, const std::string& why) {
  if (failure.empty()) {
    failed_rank = rank;
    exit_code = code;
    failure = why;
  }
  changed.notify_all();
}

bool World::deadlocked() const {
  for (size_t r = 0; r < left.size(); ++r) {
    if (!left[r] && (!waiting[r] || waiting[r]->ready())) return false;
  }
  return true;
}

void World::check_hope(const Meeting& meeting) {
  if (failure.empty()) {
    for (size_t i = 0; i < meeting.members.size(); ++i) {
      const auto member = static_cast<size_t>(meeting.members[i]);
      if (meeting.here[i] || !left[member]) continue;
      core::fail(ErrorKind::kPeerLost,
                 {.what = "rank " + std::to_string(member) + " has ended and will not take part"});
    }
    if (!deadlocked()) return;
    fail(-1, static_cast<int>(ErrorKind::kPeerLost), "all ranks wait for each other");
  }
  core::fail(static_cast<ErrorKind>(exit_code), {.what = failure});
}

namespace {

// A rank's part in a meeting.
class MeetingPending : public Pending {
 public:
  MeetingPending(std::shared_ptr<World> world, std::shared_ptr<Meeting> meeting, int rank)
      : world_(std::move(world)), meeting_(std::move(meeting)), rank_(rank) {}

  bool test() override {
    std::unique_lock lock(world_->lock);
    if (!meeting_->ready()) {
      world_->check_hope(*meeting_);
      return false;
    }
    work(lock, 1);
    return meeting_->done();
  }

  void wait() override {
    std::unique_lock lock(world_->lock);
    auto& waiting = world_->waiting[static_cast<size_t>(rank_)];
    waiting = meeting_;
    world_->changed.notify_all();  // they may all wait now
    try {
      while (!meeting_->ready()) {
        world_->check_hope(*meeting_);
        world_->changed.wait(lock);
      }
    } catch (...) {
      waiting.reset();
      throw;
    }
    finish(lock);
    waiting.reset();
  }

  void abandon() noexcept override {
    std::unique_lock lock(world_->lock);
    if (meeting_->ready()) return finish(lock);  // others read and write these buffers
    // A message is taken back: who waits for it learns more when this rank ends. A collective is
    // waited for by many, who must not take the blame for what follows.
    if (!is_collective(meeting_->kind)) {
      meeting_->withdrawn = true;
      return;
    }
    world_->fail(rank_, static_cast<int>(ErrorKind::kPeerLost),
                 "rank " + std::to_string(rank_) + " failed with a request under way");
  }

 private:
  void finish(std::unique_lock<std::mutex>& lock) {
    work(lock, meeting_->pieces);
    while (!meeting_->done()) world_->changed.wait(lock);
  }

  // Up to `most` pieces, the lock released while doing them.
  void work(std::unique_lock<std::mutex>& lock, int64_t most) {
    for (; most > 0 && meeting_->claimed < meeting_->pieces; --most) {
      const int64_t piece = meeting_->claimed++;
      lock.unlock();
      do_piece(*meeting_, piece);
      lock.lock();
      ++meeting_->finished;
    }
    if (meeting_->done()) world_->changed.notify_all();
  }

  std::shared_ptr<World> world_;
  std::shared_ptr<Meeting> meeting_;
  int rank_;  // in the world
};

class ThreadBackend : public Backend {
 public:
  ThreadBackend(std::shared_ptr<World> world, int64_t group, std::vector<int> members, int rank)
      : world_(std::move(world)), group_(group), members_(std::move(members)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }
  std::string name() const override { return "threads"; }

  std::shared_ptr<Pending> start(const Operation& operation) override {
    const std::lock_guard lock(world_->lock);
    auto meeting =
        is_collective(operation.kind) ? join_collective(operation) : join_message(operation);
    return std::make_shared<MeetingPending>(world_, std::move(meeting), world_rank());
  }

  std::shared_ptr<Backend> split(int color, int key) override {
    SplitGroup mine = split_group(*this, members_, color, key);
    const std::lock_guard lock(world_->lock);
    int64_t& group = world_->groups[{group_, ++splits_, color}];
    if (group == 0) group = world_->next_group++;
    return std::make_shared<ThreadBackend>(world_, group, std::move(mine.members), mine.rank);
  }

  void abort(int exit_code, const std::string& message) override {
    const std::lock_guard lock(world_->lock);
    world_->fail(world_rank(), exit_code,
                 "rank " + std::to_string(world_rank()) + " ended the run: " + message);
  }

  void finish() override { start({.kind = OpKind::kBarrier})->wait(); }

 private:
  int world_rank() const { return members_[static_cast<size_t>(rank_)]; }

  std::shared_ptr<Meeting> join_collective(const Operation& operation) {
    const std::pair key{group_, ++calls_};
    auto& meeting = world_->collectives[key];
    if (!meeting) meeting = new_meeting(members_);
    auto joined = meeting;
    join(*joined, static_cast<size_t>(rank_), operation);
    if (joined->ready()) world_->collectives.erase(key);
    return joined;
  }

  // Part 0 sends, part 1 receives: the first meeting of the queue that lacks this side.
  std::shared_ptr<Meeting> join_message(const Operation& operation) {
    const bool sends = operation.kind == OpKind::kSend;
    const int from = sends ? rank_ : operation.peer, to = sends ? operation.peer : rank_;
    auto& queue = world_->messages[{group_, from, to, operation.tag}];
    const size_t side = sends ? 0 : 1;
    while (!queue.empty() && queue.front()->withdrawn) queue.pop_front();
    if (queue.empty() || queue.front()->here[side]) {
      queue.push_back(
          new_meeting({members_[static_cast<size_t>(from)], members_[static_cast<size_t>(to)]}));
      join(*queue.back(), side, operation);
      return queue.back();
    }
    auto joined = queue.front();
    queue.pop_front();
    join(*joined, side, operation);
    return joined;
  }

  static std::shared_ptr<Meeting> new_meeting(const std::vector<int>& members) {
    auto meeting = std::make_shared<Meeting>();
    meeting->members = members;
    meeting->parts.resize(members.size());
    meeting->here.resize(members.size());
    return meeting;
  }

  void join(Meeting& meeting, size_t place, const Operation& operation) {
    if (!world_->failure.empty()) {
      core::fail(static_cast<ErrorKind>(world_->exit_code), {.what = world_->failure});
    }
    meeting.kind = operation.kind;
    meeting.parts[place] = operation;
    meeting.here[place] = true;
    if (meeting.arrived + 1 == meeting.members.size()) {
      try {
        meeting.pieces = count_pieces(meeting);
      } catch (const Error& error) {
        world_->fail(world_rank(), error.exit_code(), error.what());
        throw;
      }
    }
    ++meeting.arrived;
    if (meeting.ready()) world_->changed.notify_all();
  }

  std::shared_ptr<World> world_;
  int64_t group_;
  std::vector<int> members_;  // this group's ranks in the world
  int rank_;
  int64_t calls_ = 0, splits_ = 0;
};

std::string text_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an exception of another kind";
  }
}

}  // namespace

std::shared_ptr<Backend> make_thread_backend(const std::shared_ptr<World>& world, int rank) {
  std::vector<int> members(world->left.size());
  for (size_t r = 0; r < members.size(); ++r) members[r] = static_cast<int>(r);
  return std::make_shared<ThreadBackend>(world, 0, std::move(members), rank);
}

void run_ranks(int num_ranks, const std::function<void(Communicator&)>& rank_main) {
  const auto world = std::make_shared<World>(num_ranks);
  std::vector<std::exception_ptr> thrown(static_cast<size_t>(num_ranks));
  int first = -1;  // the rank that threw first
  const auto body = [&](int rank) {
    const auto r = static_cast<size_t>(rank);
    try {
      Communicator communicator(make_thread_backend(world, rank));
      rank_main(communicator);
    } catch (...) {
      thrown[r] = std::current_exception();
    }
    const std::lock_guard lock(world->lock);
    world->left[r] = true;
    if (thrown[r]) {
      if (first < 0) first = rank;
      world->fail(rank, static_cast<int>(ErrorKind::kPeerLost),
                  "rank " + std::to_string(rank) + " failed: " + text_of(thrown[r]));
    }
    world->changed.notify_all();
  };
  std::vector<std::thread> threads;
  for (int rank = 0; rank < num_ranks; ++rank) threads.emplace_back(body, rank);
  for (std::thread& thread : threads) thread.join();
  // A rank that gave up a request has told the others before its exception arrived here.
  const int cause = world->failed_rank >= 0 ? world->failed_rank : first;
  if (cause >= 0 && thrown[static_cast<size_t>(cause)]) {
    std::rethrow_exception(thrown[static_cast<size_t>(cause)]);
  }
  if (first >= 0) std::rethrow_exception(thrown[static_cast<size_t>(first)]);
}

}  // namespace hone::parallel
