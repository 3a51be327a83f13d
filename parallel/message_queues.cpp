#include "parallel/message_queues.h"

#include <algorithm>
#include <vector>

namespace hone::parallel {

MessageQueues::Queue& MessageQueues::queue_of(const Operation& operation) {
  QueueName name{.rank = operation.rank(), .what = {}};
  if (paths_ == MessagePaths::kQueueForLink) name.what = operation.channel;
  if (paths_ == MessagePaths::kQueueForKind) name.what.is_gradient = operation.channel.is_gradient;
  return queues_[name];
}

void MessageQueues::start(const Operation& operation) {
  queue_of(operation).push_back(operation);
  // What comes first in a queue may go on with what comes first in another, and so on.
  std::vector<Operation> changed{operation};
  while (!changed.empty()) {
    Queue& own = queue_of(changed.back());
    if (own.empty()) {
      changed.pop_back();
      continue;
    }
    const Operation first = own.front();
    const Operation counterpart{first.channel, !first.sends};
    Queue& other = queue_of(counterpart);
    if (other.empty() || other.front() != counterpart) {
      changed.pop_back();
      continue;
    }
    own.pop_front();
    other.pop_front();
    ++num_done_[first.channel];
    changed.push_back(counterpart);
  }
}

size_t MessageQueues::num_done(const Channel& channel) const {
  const auto found = num_done_.find(channel);
  return found == num_done_.end() ? 0 : found->second;
}

bool MessageQueues::has_open_sends(size_t rank) const {
  return std::ranges::any_of(queues_, [&](const auto& entry) {
    return entry.first.rank == rank && std::ranges::any_of(entry.second, &Operation::sends);
  });
}

}  // namespace hone::parallel
