// Messages over communicators that run their operations one after the other, as NCCL's do.
#pragma once

#include <compare>
#include <cstddef>
#include <deque>
#include <map>

namespace hone::parallel {

// What carries the messages of a pipeline.
enum class MessagePaths {
  kBuffered,      // a send waits for nothing, messages of a channel are received in order (MPI)
  kOneQueue,      // one communicator of the axis, in order
  kQueueForKind,  // one for outputs and one for gradients, each in order
  kQueueForLink,  // one for each channel, in order (comm/pipeline_links.h)
};

struct Channel {
  size_t from = 0, to = 0;  // ranks
  bool is_gradient = false;
  auto operator<=>(const Channel&) const = default;
};

// A communicator's operations on one rank start only when those before them are done; a send and
// its receive are done when both have started.
class MessageQueues {
 public:
  explicit MessageQueues(MessagePaths paths) : paths_(paths) {}

  bool in_order() const { return paths_ != MessagePaths::kBuffered; }
  void start_send(const Channel& channel) { start({channel, true}); }
  void start_receive(const Channel& channel) { start({channel, false}); }
  // Messages of the channel that have gone through.
  size_t num_done(const Channel& channel) const;
  bool has_open_sends(size_t rank) const;

 private:
  struct Operation {
    Channel channel;
    bool sends = false;
    size_t rank() const { return sends ? channel.from : channel.to; }
    auto operator<=>(const Operation&) const = default;
  };
  using Queue = std::deque<Operation>;
  struct QueueName {
    size_t rank = 0;
    Channel what;
    auto operator<=>(const QueueName&) const = default;
  };
  Queue& queue_of(const Operation& operation);
  void start(const Operation& operation);

  const MessagePaths paths_;
  std::map<QueueName, Queue> queues_;
  std::map<Channel, size_t> num_done_;
};

}  // namespace hone::parallel
