#include "parallel/comm/tcp.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <set>
#include <utility>

#include "core/error.h"
#include "parallel/comm/combine.h"
#include "parallel/comm/split_group.h"
#include "parallel/comm/tcp_mesh.h"

namespace hone::parallel {
namespace {

using core::ErrorKind;
using core::fail;

// TcpKey::kind.
enum Kind : uint32_t { kFirstRound, kSecondRound, kMessage };

class TcpPending;

// What all communicators of a process share.
struct Engine {
  explicit Engine(int rank, std::vector<int> sockets) : mesh(rank, std::move(sockets)) {}
  void advance_all();

  TcpMesh mesh;
  std::vector<std::shared_ptr<TcpPending>> active;
  bool finished = false, given_up = false;
};

class TcpPending : public Pending {
 public:
  TcpPending(std::shared_ptr<Engine> engine, std::string what, bool is_message)
      : what_(std::move(what)), engine_(std::move(engine)), is_message_(is_message) {}

  bool test() override {
    if (!done_) engine_->advance_all();
    if (error_) std::rethrow_exception(error_);
    if (!done_ && engine_->given_up)
      fail(ErrorKind::kPeerLost, {.what = "this rank gave up a collective", .where = what_});
    return done_;
  }
  void wait() override {
    while (true) {
      const uint64_t arrived = engine_->mesh.num_arrived();
      if (test()) return;
      engine_->mesh.wait_for_more(arrived);
    }
  }
  void abandon() noexcept override {
    if (done_) return;
    done_ = is_message_;
    if (!is_message_) engine_->given_up = true;
  }

  // The data of a round must have come before its work is done; it may ask for another round.
  void expect(std::vector<TcpKey> keys, std::vector<int64_t> bytes,
              std::function<void(std::vector<TcpData>& data)> work) {
    keys_ = std::move(keys);
    bytes_ = std::move(bytes);
    data_.assign(keys_.size(), std::nullopt);
    work_ = std::move(work);
  }
  // `missed`: what those that were posted earlier looked for and was not there. It may have come
  // since, and is theirs.
  void advance(std::set<TcpKey>& missed) {
    try {
      while (!done_ && round_is_here(missed)) {
        std::vector<TcpData> data;
        for (auto& one : data_) data.push_back(std::move(*one));
        keys_.clear();
        data_.clear();
        const auto work = std::exchange(work_, nullptr);
        if (work) work(data);
        done_ = !work_ && keys_.empty();
      }
    } catch (...) {
      error_ = std::current_exception();
      done_ = true;
    }
  }
  bool is_done() const { return done_; }

 private:
  bool round_is_here(std::set<TcpKey>& missed) {
    bool all = true;
    for (size_t i = 0; i < keys_.size(); ++i) {
      if (!data_[i] && !missed.contains(keys_[i])) data_[i] = engine_->mesh.take(keys_[i]);
      if (!data_[i]) missed.insert(keys_[i]);
      all = all && data_[i];
      if (data_[i] && static_cast<int64_t>(data_[i]->size()) != bytes_[i]) {
        fail(ErrorKind::kInternal, {.what = "a message has another size than expected",
                                    .where = what_,
                                    .got = std::to_string(data_[i]->size()) + " bytes",
                                    .expected = std::to_string(bytes_[i])});
      }
    }
    return all;
  }

  std::string what_;
  std::shared_ptr<Engine> engine_;
  bool is_message_, done_ = false;
  std::exception_ptr error_;
  std::vector<TcpKey> keys_;
  std::vector<int64_t> bytes_;
  std::vector<std::optional<TcpData>> data_;
  std::function<void(std::vector<TcpData>&)> work_;
};

void Engine::advance_all() {
  if (given_up) return;
  std::set<TcpKey> missed;
  for (const auto& pending : active) pending->advance(missed);
  std::erase_if(active, [](const auto& pending) { return pending->is_done(); });
}

void copy_bytes(const std::byte* from, std::byte* to, int64_t bytes) {
  if (from != to && bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

class TcpBackend : public Backend {
 public:
  TcpBackend(std::shared_ptr<Engine> engine, uint64_t group, std::vector<int> members, int rank)
      : engine_(std::move(engine)), group_(group), members_(std::move(members)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }
  std::string name() const override { return "tcp"; }

  std::shared_ptr<Pending> start(const Operation& operation) override {
    if (engine_->finished || engine_->given_up) {
      fail(engine_->finished ? ErrorKind::kInternal : ErrorKind::kPeerLost,
           {.what = engine_->finished ? "the ranks have parted already"
                                      : "this rank gave up a collective",
            .where = describe(operation)});
    }
    auto pending =
        std::make_shared<TcpPending>(engine_, describe(operation), !is_collective(operation.kind));
    post(operation, *pending);
    engine_->active.push_back(pending);
    pending->test();
    return pending;
  }

  void poll() override { engine_->advance_all(); }

  // The members of a group give it the same number without asking: a hash of how it came to be.
  std::shared_ptr<Backend> split(int color, int key) override {
    SplitGroup mine = split_group(*this, members_, color, key);
    uint64_t group = group_;
    for (const uint64_t part : {next_split_++, static_cast<uint64_t>(color)}) {
      group = (group ^ (part + 0x9e3779b97f4a7c15ULL)) * 0xbf58476d1ce4e5b9ULL;
      group ^= group >> 31;
    }
    return std::make_shared<TcpBackend>(engine_, group, std::move(mine.members), mine.rank);
  }

  void abort(int, const std::string& message) override {
    std::fprintf(stderr, "%s\n", message.c_str());
    engine_->mesh.hang_up();
  }

  void finish() override {
    start({.kind = OpKind::kBarrier})->wait();
    engine_->finished = true;
    engine_->mesh.say_goodbye();
  }

 private:
  int64_t element(const Operation& operation) const {
    return static_cast<int64_t>(dtype_size(operation.dtype));
  }
  TcpKey key(int member, Kind kind, uint64_t number) const {
    return {.from = members_[static_cast<size_t>(member)],
            .group = group_,
            .kind = kind,
            .number = number};
  }
  void send(int member, Kind kind, uint64_t number, const std::byte* data, int64_t bytes) {
    engine_->mesh.send(members_[static_cast<size_t>(member)], key(rank_, kind, number), data,
                       bytes);
  }
  // To every other member its range, at a time at which no two send to the same.
  void send_to_all(Kind kind, uint64_t number,
                   const std::function<std::pair<const std::byte*, int64_t>(int to)>& range) {
    for (int i = 1; i < size(); ++i) {
      const int to = (rank_ + i) % size();
      const auto [data, bytes] = range(to);
      send(to, kind, number, data, bytes);
    }
  }
  // `bytes` from every other member; `work` gets each with its member.
  void expect_from_all(TcpPending& pending, Kind kind, uint64_t number,
                       const std::function<int64_t(int from)>& bytes,
                       std::function<void(std::vector<TcpData>& data)> work) {
    std::vector<TcpKey> keys;
    std::vector<int64_t> sizes;
    for (int from = 0; from < size(); ++from) {
      if (from == rank_) continue;
      keys.push_back(key(from, kind, number));
      sizes.push_back(bytes(from));
    }
    pending.expect(std::move(keys), std::move(sizes), std::move(work));
  }
  // Data of the other members in their order: which one `member`'s is.
  size_t index_of(int member) const { return static_cast<size_t>(member - (member > rank_)); }

  void post(const Operation& operation, TcpPending& pending);
  void post_parts(const Operation& operation, TcpPending& pending);
  void post_reduce(const Operation& operation, TcpPending& pending);

  std::shared_ptr<Engine> engine_;
  uint64_t group_;
  std::vector<int> members_;  // ranks of the world
  int rank_;                  // in the group
  uint64_t next_number_ = 0, next_split_ = 0;
};

void TcpBackend::post(const Operation& operation, TcpPending& pending) {
  const int64_t bytes = operation.count * element(operation);
  const auto tag = static_cast<uint64_t>(operation.tag);
  const Operation o = operation;
  switch (operation.kind) {
    case OpKind::kSend:
      return send(operation.peer, kMessage, tag, operation.input, bytes);
    case OpKind::kRecv:
      return pending.expect(
          {key(operation.peer, kMessage, tag)}, {bytes},
          [o, bytes](std::vector<TcpData>& data) { copy_bytes(data[0].data(), o.output, bytes); });
    case OpKind::kAllReduce:
    case OpKind::kReduceScatter:
      return post_reduce(operation, pending);
    case OpKind::kAllGather:
    case OpKind::kAllToAll:
      return post_parts(operation, pending);
    case OpKind::kBroadcast: {
      const uint64_t number = next_number_++;
      if (rank_ == operation.peer) {
        return send_to_all(kFirstRound, number, [&](int) {
          return std::pair<const std::byte*, int64_t>(operation.output, bytes);
        });
      }
      return pending.expect(
          {key(operation.peer, kFirstRound, number)}, {bytes},
          [o, bytes](std::vector<TcpData>& data) { copy_bytes(data[0].data(), o.output, bytes); });
    }
    case OpKind::kBarrier:
      break;
  }
  const uint64_t number = next_number_++;
  send_to_all(kFirstRound, number,
              [](int) { return std::pair<const std::byte*, int64_t>(nullptr, 0); });
  expect_from_all(
      pending, kFirstRound, number, [](int) { return int64_t{0}; }, nullptr);
}

// Every rank has something for every other, which is copied where it belongs.
void TcpBackend::post_parts(const Operation& operation, TcpPending& pending) {
  const uint64_t number = next_number_++;
  const Operation o = operation;
  const bool gathers = operation.kind == OpKind::kAllGather;
  const int64_t each = operation.count * element(operation);
  const auto bytes_of = [o, gathers, each, size = element(operation)](int member) {
    return gathers ? o.counts[static_cast<size_t>(member)] * size : each;
  };
  const auto offset_of = [o, gathers, each](int member) {
    return gathers ? part_offset(o, member) : member * each;
  };
  send_to_all(kFirstRound, number, [&](int to) {
    return std::pair(operation.input + (gathers ? 0 : to * each), bytes_of(gathers ? rank_ : to));
  });
  copy_bytes(operation.input + (gathers ? 0 : rank_ * each), operation.output + offset_of(rank_),
             bytes_of(rank_));
  expect_from_all(
      pending, kFirstRound, number, bytes_of,
      [this, self = shared_from_this(), o, bytes_of, offset_of](std::vector<TcpData>& data) {
        for (int from = 0; from < size(); ++from) {
          if (from != rank_)
            copy_bytes(data[index_of(from)].data(), o.output + offset_of(from), bytes_of(from));
        }
      });
}

// Every rank reduces its part of all inputs; all_reduce then sends the parts round.
void TcpBackend::post_reduce(const Operation& operation, TcpPending& pending) {
  const uint64_t number = next_number_++;
  const bool scatters = operation.kind == OpKind::kReduceScatter;
  Operation o = operation;
  if (!scatters) {
    o.counts.clear();
    for (int64_t r = 0; r < size(); ++r)
      o.counts.push_back(operation.count / size() + (r < operation.count % size() ? 1 : 0));
  }
  const auto bytes_of = [o, size = element(operation)](int member) {
    return o.counts[static_cast<size_t>(member)] * size;
  };
  send_to_all(kFirstRound, number, [&](int to) {
    return std::pair(operation.input + part_offset(o, to), bytes_of(to));
  });
  const auto reduce = [this, self = shared_from_this(), o, scatters, bytes_of, number,
                       &pending](std::vector<TcpData>& data) {
    std::vector<const void*> inputs;
    for (int from = 0; from < size(); ++from) {
      inputs.push_back(from == rank_ ? o.input + part_offset(o, rank_)
                                     : data[index_of(from)].data());
    }
    TcpData mine(static_cast<size_t>(bytes_of(rank_)));
    if (!mine.empty())
      combine_tree(o.dtype, o.reduce, inputs, mine.data(), o.counts[static_cast<size_t>(rank_)]);
    copy_bytes(mine.data(), o.output + (scatters ? 0 : part_offset(o, rank_)), bytes_of(rank_));
    if (scatters) return;
    send_to_all(kSecondRound, number, [&](int) {
      return std::pair<const std::byte*, int64_t>(mine.data(), bytes_of(rank_));
    });
    expect_from_all(pending, kSecondRound, number, bytes_of,
                    [this, self = shared_from_this(), o, bytes_of](std::vector<TcpData>& parts) {
                      for (int from = 0; from < size(); ++from) {
                        if (from != rank_)
                          copy_bytes(parts[index_of(from)].data(), o.output + part_offset(o, from),
                                     bytes_of(from));
                      }
                    });
  };
  expect_from_all(
      pending, kFirstRound, number, [&](int) { return bytes_of(rank_); }, reduce);
}

}  // namespace

std::shared_ptr<Backend> make_tcp(const TcpRendezvous& rendezvous) {
  std::vector<int> members;
  for (int rank = 0; rank < rendezvous.size; ++rank) members.push_back(rank);
  auto engine = std::make_shared<Engine>(rendezvous.rank, connect_ranks(rendezvous));
  return std::make_shared<TcpBackend>(std::move(engine), 0, std::move(members), rendezvous.rank);
}

}  // namespace hone::parallel
