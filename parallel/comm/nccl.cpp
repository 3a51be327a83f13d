// The backend over NCCL: which calls an operation is, and on which stream it waits for what. It
// sees NCCL and CUDA through nccl_api.h only.
#include "parallel/comm/nccl.h"

#include <array>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "parallel/comm/nccl_calls.h"

namespace hone::parallel {
namespace {

using core::ErrorKind;
using core::fail;

// What was launched together, and the event behind it. Messages wait in it to be launched.
struct Flight {
  Flight(std::shared_ptr<NcclWorld> its_world, NcclComm& its_comm)
      : world(std::move(its_world)), comm(its_comm) {}
  Flight(const Flight&) = delete;
  Flight& operator=(const Flight&) = delete;
  ~Flight() {
    if (event != nullptr) comm.free_events.push_back(event);
  }

  // Behind all that is on the communicator's stream now.
  void record() {
    if (event == nullptr) take_event();
    world->check_cuda(world->api().event_record(event, comm.stream), "cudaEventRecord");
  }
  bool passed() const {
    const int code = world->api().event_query(event);
    if (code == kCudaNotReady) return false;
    world->check_cuda(code, "cudaEventQuery");
    return true;
  }

  std::shared_ptr<NcclWorld> world;
  NcclComm& comm;
  CudaEvent event = nullptr;
  bool launched = false;
  NumberedMessages messages;

 private:
  void take_event() {
    if (comm.free_events.empty()) {
      CudaEvent made = nullptr;
      world->check_cuda(world->api().event_create(&made), "cudaEventCreateWithFlags");
      comm.events.push_back(made);
      comm.free_events.push_back(made);
    }
    event = comm.free_events.back();
    comm.free_events.pop_back();
  }
};

class NcclBackend : public Backend {
 public:
  // `comm` is made already and lives in `world`.
  NcclBackend(std::shared_ptr<Backend> host, std::shared_ptr<NcclWorld> world, NcclComm& comm)
      : host_(std::move(host)), world_(std::move(world)), comm_(comm) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  std::string name() const override { return "nccl"; }
  std::shared_ptr<Backend> host() override { return host_; }

  std::shared_ptr<Pending> start(const Operation& operation) override;
  std::shared_ptr<Backend> split(int color, int key) override;

  void poll() override {
    launch_messages();
    world_->watch();
  }

  void synchronize() override {
    launch_messages();
    world_->require_usable("synchronize");
    Flight all(world_, comm_);
    all.record();
    world_->wait_until([&] { return all.passed(); }, "synchronize");
  }

  void abort(int exit_code, const std::string& message) override {
    world_->give_up();
    host_->abort(exit_code, message);
  }

  void finish() override {
    start({.kind = OpKind::kBarrier})->wait();
    world_->finish();
    host_->finish();
  }

  void launch_messages();

 private:
  void refuse_what_nccl_has_not(const Operation& operation) const;
  std::shared_ptr<Pending> join_messages(const Operation& operation);
  // The stream goes on behind what is on the compute stream now.
  void wait_for_compute();
  NcclCalls calls() const { return {*world_, comm_, rank(), size()}; }
  const NcclApi& api() const { return world_->api(); }

  std::shared_ptr<Backend> host_;
  std::shared_ptr<NcclWorld> world_;
  NcclComm& comm_;
  std::shared_ptr<Flight> messages_;  // not launched yet; null when there are none
  int64_t num_messages_ = 0;
};

class NcclPending : public Pending {
 public:
  NcclPending(std::shared_ptr<NcclBackend> backend, std::shared_ptr<Flight> flight,
              int64_t message = -1)
      : backend_(std::move(backend)), flight_(std::move(flight)), message_(message) {}

  bool test() override {
    if (!flight_->launched) backend_->launch_messages();
    flight_->world->watch();
    return flight_->passed();
  }

  // No host waits here: the compute stream does.
  void wait() override {
    NcclWorld& world = *flight_->world;
    if (!flight_->launched) backend_->launch_messages();
    world.watch();
    world.check_cuda(world.api().stream_wait_event(world.compute_stream(), flight_->event),
                     "cudaStreamWaitEvent");
  }

  // A message nobody has launched is taken back. Anything else goes on in buffers that are gone.
  void abandon() noexcept override {
    if (flight_->launched) return flight_->world->give_up();
    std::erase_if(flight_->messages, [&](const auto& entry) { return entry.first == message_; });
  }

 private:
  std::shared_ptr<NcclBackend> backend_;
  std::shared_ptr<Flight> flight_;
  int64_t message_;
};

// Over the host, and behind what is on this rank's stream: here the host waits.
class NcclBarrier : public Pending {
 public:
  NcclBarrier(std::shared_ptr<Flight> flight, std::shared_ptr<Pending> host)
      : flight_(std::move(flight)), host_(std::move(host)) {}

  bool test() override {
    flight_->world->watch();
    return done();
  }
  void wait() override {
    try {
      flight_->world->wait_until([&] { return done(); }, "barrier");
    } catch (...) {
      abandon();
      throw;
    }
  }
  void abandon() noexcept override {
    flight_->world->give_up();
    if (!host_done_) host_->abandon();
  }

 private:
  bool done() {
    if (!host_done_) host_done_ = host_->test();
    return flight_->passed() && host_done_;
  }

  std::shared_ptr<Flight> flight_;
  std::shared_ptr<Pending> host_;
  bool host_done_ = false;
};

std::shared_ptr<Pending> NcclBackend::start(const Operation& operation) {
  refuse_what_nccl_has_not(operation);
  if (!is_collective(operation.kind)) return join_messages(operation);
  launch_messages();
  world_->begin(describe(operation));
  auto flight = std::make_shared<Flight>(world_, comm_);
  flight->launched = true;
  if (operation.kind == OpKind::kBarrier) {
    flight->record();
    return std::make_shared<NcclBarrier>(std::move(flight), host_->start(operation));
  }
  wait_for_compute();
  calls().post(operation);
  flight->record();
  return std::make_shared<NcclPending>(nullptr, std::move(flight));
}

void NcclBackend::refuse_what_nccl_has_not(const Operation& operation) const {
  if (operation.ordered) {
    fail(ErrorKind::kBadRecipe, {.what = "sums in a fixed order are not possible over nccl yet",
                                 .where = describe(operation),
                                 .hint = "without strict, or with backend mpi"});
  }
  if (operation.tag != 0) {
    fail(ErrorKind::kInternal, {.what = "messages over nccl have no tags",
                                .where = describe(operation),
                                .expected = "tag 0"});
  }
}

std::shared_ptr<Pending> NcclBackend::join_messages(const Operation& operation) {
  world_->begin(describe(operation));
  if (!messages_) messages_ = std::make_shared<Flight>(world_, comm_);
  const int64_t number = num_messages_++;
  messages_->messages.emplace_back(number, operation);
  auto self = std::static_pointer_cast<NcclBackend>(shared_from_this());
  return std::make_shared<NcclPending>(std::move(self), messages_, number);
}

void NcclBackend::launch_messages() {
  if (!messages_) return;
  const auto flight = std::exchange(messages_, nullptr);
  flight->launched = true;
  std::erase_if(flight->messages, [](const auto& entry) { return entry.second.count == 0; });
  if (!flight->messages.empty()) {
    world_->begin(describe(flight->messages.front().second));
    wait_for_compute();
    calls().post_messages(flight->messages);
  }
  flight->record();
}

void NcclBackend::wait_for_compute() {
  world_->check_cuda(api().event_record(comm_.ready, world_->compute_stream()), "cudaEventRecord");
  world_->check_cuda(api().stream_wait_event(comm_.stream, comm_.ready), "cudaStreamWaitEvent");
}

std::shared_ptr<Backend> NcclBackend::split(int color, int key) {
  launch_messages();
  world_->begin("split");
  auto host = host_->split(color, key);
  NcclComm& part = world_->add_communicator();
  world_->settle(api().comm_split(comm_.handle, color, key, &part.handle), comm_.handle,
                 "ncclCommSplit");
  world_->settle(kNcclInProgress, part.handle, "ncclCommSplit");
  return std::make_shared<NcclBackend>(std::move(host), world_, part);
}

}  // namespace

std::shared_ptr<Backend> make_nccl(std::shared_ptr<Backend> host, const NcclApi& api,
                                   const NcclOptions& options) {
  const auto world = std::make_shared<NcclWorld>(api, options, host->rank());
  NcclComm& comm = world->add_communicator();
  // Beside the id goes whether there is one: all ranks must learn that rank 0 has none.
  std::array<char, sizeof(NcclId) + sizeof(int)> message{};
  if (host->rank() == 0) {
    NcclId id{};
    const int code = api.get_unique_id(&id);
    std::memcpy(message.data(), &code, sizeof(code));
    std::memcpy(message.data() + sizeof(code), id.data(), id.size());
  }
  host->start({.kind = OpKind::kBroadcast,
               .output = reinterpret_cast<std::byte*>(message.data()),
               .count = static_cast<int64_t>(message.size()),
               .peer = 0})
      ->wait();
  int code = kNcclSuccess;
  NcclId id{};
  std::memcpy(&code, message.data(), sizeof(code));
  std::memcpy(id.data(), message.data() + sizeof(code), id.size());
  world->check_nccl(code, "ncclGetUniqueId");
  code = api.comm_init_rank(&comm.handle, host->size(), id, host->rank());
  world->settle(code, comm.handle, "ncclCommInitRankConfig");
  return std::make_shared<NcclBackend>(std::move(host), world, comm);
}

}  // namespace hone::parallel
