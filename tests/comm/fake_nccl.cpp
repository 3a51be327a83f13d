#include "tests/comm/fake_nccl.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "tests/comm/fake_device.h"

namespace hone::test {

using namespace parallel;  // NOLINT
using std::to_string;

// The calls of one rank.
struct FakeCalls {
  FakeNccl* fake;
  int index;

  FakeDevice& device() const { return *fake->device_; }
  FakeRank& rank() const { return device().ranks[static_cast<size_t>(index)]; }
  std::shared_ptr<FakeStream> stream(CudaStream handle) const { return rank().streams.at(handle); }
  std::shared_ptr<FakeEvent> event(CudaEvent handle) const { return rank().events.at(handle); }
  std::shared_ptr<FakeComm> comm(NcclHandle handle) const { return rank().comms.at(handle); }

  // Records the call, or throws its code.
  void note(const std::string& name, const std::string& arguments = "") const {
    rank().calls.push_back(arguments.empty() ? name : name + " " + arguments);
    const auto failure = rank().failures.find(name);
    if (failure == rank().failures.end()) return;
    const int code = failure->second;
    rank().failures.erase(failure);
    throw code;
  }

  // A call with the lock held; what it has put on streams then runs.
  template <typename F>
  int locked(F call) const {
    const std::lock_guard lock(fake->lock_);
    try {
      const int code = call();
      device().run();
      return code;
    } catch (int code) {
      return code;
    }
  }

  template <typename T, typename Handle>
  int make(std::map<const void*, std::shared_ptr<T>>& all, Handle* handle) const {
    auto made = std::make_shared<T>();
    made->number = ++rank().made;
    *handle = reinterpret_cast<Handle>(made.get());
    all[*handle] = std::move(made);
    return 0;
  }
  template <typename T, typename Handle>
  int drop(std::map<const void*, std::shared_ptr<T>>& all, Handle handle) const {
    if (all.erase(handle) == 0) throw std::logic_error("destroyed twice");
    return 0;
  }

  // Puts a part on a stream, or in the group under way.
  int put(CudaStream on, NcclHandle handle, FakePart made, int from = -1, int to = -1) const {
    const auto its = comm(handle);
    const bool message = from >= 0;
    auto& meeting = its->group->meetings[{from, to, its->calls[{from, to}]++}];
    if (!meeting) {
      meeting = std::make_shared<FakeMeeting>();
      meeting->parts.resize(message ? 2 : static_cast<size_t>(its->group->size));
    }
    auto part = std::make_shared<FakePart>(std::move(made));
    const auto place = message ? (its->rank == from ? 0U : 1U) : static_cast<size_t>(its->rank);
    meeting->parts.at(place) = part;
    FakeStep& step = rank().grouped[stream(on)];
    step.parts.emplace_back(part, meeting);
    if (rank().group_depth == 0) launch_grouped();
    return 0;
  }
  void launch_grouped() const {
    for (auto& [on, step] : rank().grouped) on->steps.push_back(step);
    rank().grouped.clear();
  }

  std::string where(NcclHandle handle, CudaStream on) const {
    return " c" + to_string(comm(handle)->number) + " s" + to_string(stream(on)->number);
  }
};

namespace {

void add_reductions(NcclApi& api, const FakeCalls& me) {
  const auto reduction = [me](const std::string& kind, const void* in, void* out, size_t count,
                              int type, int op, int root, NcclHandle comm, CudaStream stream) {
    return me.locked([&] {
      const std::string to = kind == "reduce" ? " root=" + to_string(root) : "";
      me.note(kind, to_string(count) + " type=" + to_string(type) + " op=" + to_string(op) + to +
                        me.where(comm, stream));
      return me.put(stream, comm,
                    {.kind = kind,
                     .in = static_cast<const std::byte*>(in),
                     .out = static_cast<std::byte*>(out),
                     .count = count,
                     .dtype = dtype_of(type),
                     .op = op_of(op),
                     .root = root});
    });
  };
  api.all_reduce = [=](const void* in, void* out, size_t count, int type, int op, NcclHandle comm,
                       CudaStream stream) {
    return reduction("all_reduce", in, out, count, type, op, 0, comm, stream);
  };
  api.reduce_scatter = [=](const void* in, void* out, size_t count, int type, int op,
                           NcclHandle comm, CudaStream stream) {
    return reduction("reduce_scatter", in, out, count, type, op, 0, comm, stream);
  };
  api.reduce = [=](const void* in, void* out, size_t count, int type, int op, int root,
                   NcclHandle comm, CudaStream stream) {
    return reduction("reduce", in, out, count, type, op, root, comm, stream);
  };
}

void add_moves(NcclApi& api, const FakeCalls& me) {
  const auto part = [](const std::string& kind, const void* in, void* out, size_t count, int type,
                       int root) {
    return FakePart{.kind = kind,
                    .in = static_cast<const std::byte*>(in),
                    .out = static_cast<std::byte*>(out),
                    .count = count,
                    .dtype = dtype_of(type),
                    .root = root};
  };
  const auto text = [me](size_t count, int type, NcclHandle comm, CudaStream stream,
                         const std::string& more = "") {
    return to_string(count) + " type=" + to_string(type) + more + me.where(comm, stream);
  };
  api.all_gather = [=](const void* in, void* out, size_t count, int type, NcclHandle comm,
                       CudaStream stream) {
    return me.locked([&] {
      me.note("all_gather", text(count, type, comm, stream));
      return me.put(stream, comm, part("all_gather", in, out, count, type, 0));
    });
  };
  api.broadcast = [=](const void* in, void* out, size_t count, int type, int root, NcclHandle comm,
                      CudaStream stream) {
    return me.locked([&] {
      me.note("broadcast", text(count, type, comm, stream, " root=" + to_string(root)));
      return me.put(stream, comm, part("broadcast", in, out, count, type, root));
    });
  };
  api.send = [=](const void* in, size_t count, int type, int peer, NcclHandle comm,
                 CudaStream stream) {
    return me.locked([&] {
      me.note("send", text(count, type, comm, stream, " peer=" + to_string(peer)));
      return me.put(stream, comm, part("message", in, nullptr, count, type, 0), me.comm(comm)->rank,
                    peer);
    });
  };
  api.recv = [=](void* out, size_t count, int type, int peer, NcclHandle comm, CudaStream stream) {
    return me.locked([&] {
      me.note("recv", text(count, type, comm, stream, " peer=" + to_string(peer)));
      return me.put(stream, comm, part("message", nullptr, out, count, type, 0), peer,
                    me.comm(comm)->rank);
    });
  };
  api.group_start = [me] {
    return me.locked([&] {
      me.note("group_start");
      ++me.rank().group_depth;
      return 0;
    });
  };
  api.group_end = [me] {
    return me.locked([&] {
      if (--me.rank().group_depth == 0) me.launch_grouped();
      me.note("group_end");
      return 0;
    });
  };
}

int split(const FakeCalls& me, NcclHandle handle, int color, int key, NcclHandle* part) {
  me.note("comm_split", "color=" + to_string(color) + " key=" + to_string(key));
  const auto parent = me.comm(handle);
  auto& split = me.device().splits[{parent->group, parent->splits++}];
  if (!split) split = std::make_shared<FakeSplit>();
  me.make(me.rank().comms, part);
  split->calls.push_back({color, key, parent->rank, me.comm(*part)});
  parent->splitting = split;
  if (static_cast<int>(split->calls.size()) == parent->group->size) split->finish();
  return kNcclInProgress;
}

int init(const FakeCalls& me, NcclHandle* comm, int size, const NcclId& id, int rank) {
  me.note("comm_init_rank", to_string(rank) + " of " + to_string(size));
  auto& group = me.device().groups[std::string(id.data())];
  if (!group) group = std::make_shared<FakeGroup>();
  group->size = size;
  ++group->joined;
  me.make(me.rank().comms, comm);
  me.comm(*comm)->group = group;
  me.comm(*comm)->rank = rank;
  return kNcclInProgress;
}

void add_communicators(NcclApi& api, const FakeCalls& me) {
  api.get_unique_id = [me](NcclId* id) {
    return me.locked([&] {
      me.note("get_unique_id");
      const std::string text = "id " + to_string(++me.device().ids);
      std::memcpy(id->data(), text.c_str(), text.size() + 1);
      return 0;
    });
  };
  api.comm_init_rank = [me](NcclHandle* comm, int size, const NcclId& id, int rank) {
    return me.locked([&] { return init(me, comm, size, id, rank); });
  };
  api.comm_split = [me](NcclHandle comm, int color, int key, NcclHandle* part) {
    return me.locked([&] { return split(me, comm, color, key, part); });
  };
  api.comm_get_async_error = [me](NcclHandle comm, int* error) {
    return me.locked([&] {
      const auto its = me.comm(comm);
      *error = me.rank().async_error;
      if (*error == kNcclSuccess && !its->ready()) *error = kNcclInProgress;
      return 0;
    });
  };
  const auto ends = [me](const std::string& name) {
    return [me, name](NcclHandle comm) {
      return me.locked([&] {
        me.note(name, "c" + to_string(me.comm(comm)->number));
        if (name == "comm_abort") me.rank().kill();
        return name == "comm_finalize" ? kNcclInProgress : me.drop(me.rank().comms, comm);
      });
    };
  };
  api.comm_finalize = ends("comm_finalize");
  api.comm_destroy = ends("comm_destroy");
  api.comm_abort = ends("comm_abort");
  api.nccl_error_string = [](int code) { return "nccl text " + to_string(code); };
}

void add_streams(NcclApi& api, const FakeCalls& me) {
  api.set_device = [me](int device) {
    return me.locked([&] {
      me.note("set_device", to_string(device));
      return 0;
    });
  };
  api.stream_create = [me](CudaStream* stream) {
    return me.locked([&] {
      me.note("stream_create");
      return me.make(me.rank().streams, stream);
    });
  };
  api.stream_destroy = [me](CudaStream stream) {
    return me.locked([&] {
      me.note("stream_destroy");
      return me.drop(me.rank().streams, stream);
    });
  };
  api.memcpy_async = [me](void* to, const void* from, size_t bytes, CudaStream stream) {
    return me.locked([&] {
      me.note("memcpy_async", to_string(bytes) + " s" + to_string(me.stream(stream)->number));
      me.stream(stream)->steps.push_back(
          {.kind = FakeStep::Kind::kCopy, .copy = [=] { std::memcpy(to, from, bytes); }});
      return 0;
    });
  };
  api.cuda_error_string = [](int code) { return "cuda text " + to_string(code); };
}

void add_events(NcclApi& api, const FakeCalls& me) {
  const auto text = [me](CudaEvent event, CudaStream stream) {
    return "e" + to_string(me.event(event)->number) + " s" + to_string(me.stream(stream)->number);
  };
  api.stream_wait_event = [=](CudaStream stream, CudaEvent event) {
    return me.locked([&] {
      me.note("stream_wait_event", text(event, stream));
      const auto its = me.event(event);
      me.stream(stream)->steps.push_back(
          {.kind = FakeStep::Kind::kWait, .event = its, .ticket = its->recorded});
      return 0;
    });
  };
  api.event_record = [=](CudaEvent event, CudaStream stream) {
    return me.locked([&] {
      me.note("event_record", text(event, stream));
      const auto its = me.event(event);
      its->recorded = ++me.device().tickets;
      me.stream(stream)->steps.push_back(
          {.kind = FakeStep::Kind::kRecord, .event = its, .ticket = its->recorded});
      return 0;
    });
  };
  api.event_create = [me](CudaEvent* event) {
    return me.locked([&] {
      me.note("event_create");
      return me.make(me.rank().events, event);
    });
  };
  api.event_destroy = [me](CudaEvent event) {
    return me.locked([&] {
      me.note("event_destroy");
      return me.drop(me.rank().events, event);
    });
  };
  api.event_query = [me](CudaEvent event) {
    return me.locked([&] {
      ++me.rank().queries;
      const auto failure = me.rank().failures.find("event_query");
      if (failure != me.rank().failures.end()) return failure->second;
      const auto its = me.event(event);
      return its->passed >= its->recorded ? kCudaSuccess : kCudaNotReady;
    });
  };
}

}  // namespace

FakeNccl::FakeNccl(int ranks) : device_(std::make_unique<FakeDevice>()) {
  device_->ranks.resize(static_cast<size_t>(ranks));
  for (FakeRank& rank : device_->ranks) rank.streams[nullptr] = std::make_shared<FakeStream>();
}

FakeNccl::~FakeNccl() = default;

NcclApi FakeNccl::api(int rank) {
  const FakeCalls me{this, rank};
  NcclApi api;
  add_reductions(api, me);
  add_moves(api, me);
  add_communicators(api, me);
  add_streams(api, me);
  add_events(api, me);
  return api;
}

void FakeNccl::fail_next(int rank, const std::string& call, int code) {
  const std::lock_guard lock(lock_);
  device_->ranks[static_cast<size_t>(rank)].failures[call] = code;
}

void FakeNccl::set_async_error(int rank, int code) {
  const std::lock_guard lock(lock_);
  device_->ranks[static_cast<size_t>(rank)].async_error = code;
}

std::vector<std::string> FakeNccl::calls(int rank) {
  const std::lock_guard lock(lock_);
  return device_->ranks[static_cast<size_t>(rank)].calls;
}

void FakeNccl::clear_calls(int rank) {
  const std::lock_guard lock(lock_);
  device_->ranks[static_cast<size_t>(rank)].calls.clear();
  device_->ranks[static_cast<size_t>(rank)].queries = 0;
}

int FakeNccl::count(int rank, const std::string& call) {
  const auto all = calls(rank);
  return static_cast<int>(std::count_if(all.begin(), all.end(), [&](const std::string& text) {
    return text.substr(0, text.find(' ')) == call;
  }));
}

int FakeNccl::queries(int rank) {
  const std::lock_guard lock(lock_);
  return device_->ranks[static_cast<size_t>(rank)].queries;
}

int FakeNccl::live_handles(int rank) {
  const std::lock_guard lock(lock_);
  const FakeRank& its = device_->ranks[static_cast<size_t>(rank)];
  return static_cast<int>(its.streams.size() - 1 + its.events.size() + its.comms.size());
}

}  // namespace hone::test
