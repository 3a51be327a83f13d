#include "parallel/step_ranks.h"

#include <algorithm>
#include <iterator>
#include <map>

namespace hone::parallel {
namespace {

using Lists = std::vector<std::vector<Action>>;

std::vector<Action> collectives(const std::vector<Action>& actions) {
  std::vector<Action> result;
  std::ranges::copy_if(actions, std::back_inserter(result), is_collective);
  return result;
}

// What a forward or backward may wait for: messages of a kind and stage.
struct Awaited {
  bool is_gradient = false;
  int64_t stage = -1, micro_batch = -1;
  auto operator<=>(const Awaited&) const = default;
};

struct Message {
  Action sent;
  size_t index = 0;  // of the sender's list
  double time = 0;   // when it was sent
};

class Simulation {
 public:
  Simulation(const Lists& lists, const std::vector<StageDescriptor>& stages, const Layout& layout,
             const Pipeline& pipeline_or_none, const std::vector<double>& costs,
             MessagePaths paths = MessagePaths::kBuffered)
      : lists_(lists),
        stages_(stages),
        layout_(layout),
        costs_(costs),
        ranks_(lists.size()),
        queues_(paths) {
    const Pipeline pipeline = pipeline_or_none.num_stages > 0
                                  ? pipeline_or_none
                                  : whole_pipeline(static_cast<int64_t>(stages.size()));
    for (size_t stage = 0; stage < stages.size(); ++stage)
      num_holders_.push_back(num_holders(stages, pipeline, static_cast<int64_t>(stage)));
    for (int64_t i = 0; i < pipeline.num_ranks; ++i)
      is_held_.push_back(held_stages(stages, pipeline, i));
    for (size_t rank = 0; rank < lists.size(); ++rank)
      pipeline_ranks_.push_back(rank_position(layout, static_cast<int64_t>(rank)).pipeline);
  }

  void run() {
    bool moved = true;
    while (moved) {
      moved = false;
      for (size_t rank = 0; rank < lists_.size(); ++rank) {
        while (!is_done(rank) && take(rank)) moved = true;
      }
    }
    tell_stuck();
    tell_unreceived();
  }

  const std::vector<std::string>& problems() const { return problems_; }

  double idle_share() const {
    double end = 0, busy = 0;
    for (const Rank& rank : ranks_) {
      end = std::max(end, rank.clock);
      busy += rank.busy;
    }
    return end == 0 ? 0.0 : 1 - busy / (end * static_cast<double>(ranks_.size()));
  }

 private:
  struct Receive {
    Channel channel;
    size_t place = 0;  // among the channel's messages
  };
  struct Rank {
    size_t next = 0;
    double clock = 0, busy = 0;
    std::map<Awaited, Receive> receives;
  };

  bool is_done(size_t rank) const { return ranks_[rank].next == lists_[rank].size(); }
  const Action& next_of(size_t rank) const { return lists_[rank][ranks_[rank].next]; }
  std::string name_of(size_t rank, size_t index) const {
    return "rank " + std::to_string(rank) + ", action " + std::to_string(index) + ", " +
           describe_action(lists_[rank][index], stages_);
  }

  size_t rank_of_peer(size_t rank, int64_t peer) const {
    RankPosition position = rank_position(layout_, static_cast<int64_t>(rank));
    position.pipeline = peer;
    return static_cast<size_t>(rank_at(layout_, position));
  }

  // False where the rank has to wait.
  bool take(size_t rank) {
    const Action& action = next_of(rank);
    if (is_collective(action)) return take_collective(rank, action);
    switch (action.kind) {
      case ActionKind::kSendOutput:
      case ActionKind::kSendGradient:
        send(rank, action);
        break;
      case ActionKind::kReceiveInput:
      case ActionKind::kReceiveGradient:
        start_receive(rank, action);
        break;
      case ActionKind::kForward:
      case ActionKind::kLoss:
      case ActionKind::kRecompute:
      case ActionKind::kBackward:
        if (!compute(rank, action)) return false;
        break;
      default:
        break;
    }
    ++ranks_[rank].next;
    return true;
  }

  void send(size_t rank, const Action& action) {
    const bool is_gradient = action.kind == ActionKind::kSendGradient;
    const Channel channel{rank, rank_of_peer(rank, action.peer), is_gradient};
    messages_[channel].push_back({action, ranks_[rank].next, ranks_[rank].clock});
    if (queues_.in_order()) queues_.start_send(channel);
  }

  void start_receive(size_t rank, const Action& action) {
    const bool is_gradient = action.kind == ActionKind::kReceiveGradient;
    const Channel channel{rank_of_peer(rank, action.peer), rank, is_gradient};
    ranks_[rank].receives[{is_gradient, action.stage, action.micro_batch}] = {
        channel, num_started_[channel]++};
    if (queues_.in_order()) queues_.start_receive(channel);
  }

  bool compute(size_t rank, const Action& action) {
    Rank& own = ranks_[rank];
    const bool is_backward = action.kind == ActionKind::kBackward;
    if (action.kind != ActionKind::kRecompute) {
      const auto found = own.receives.find({is_backward, action.stage, action.micro_batch});
      if (found != own.receives.end()) {
        const auto& [channel, place] = found->second;
        const std::vector<Message>& sent = messages_[channel];
        if ((queues_.in_order() ? queues_.num_done(channel) : sent.size()) <= place) return false;
        check(rank, action, channel.from, sent[place]);
        own.clock = std::max(own.clock, sent[place].time);
        own.receives.erase(found);
      }
    }
    const double thirds = action.kind == ActionKind::kLoss ? 3 : is_backward ? 2 : 1;
    const double cost = costs_.empty() ? 0 : costs_[static_cast<size_t>(action.stage)] * thirds / 3;
    own.clock += cost;
    own.busy += cost;
    return true;
  }

  // An output is of the stage below the one that needs it, an input's gradient of the one above.
  void check(size_t rank, const Action& needs, size_t from, const Message& message) {
    const bool is_gradient = message.sent.kind == ActionKind::kSendGradient;
    const int64_t expected = needs.stage + (is_gradient ? 1 : -1);
    if (message.sent.stage == expected && message.sent.micro_batch == needs.micro_batch) return;
    problems_.push_back(name_of(rank, ranks_[rank].next) + ": gets what " +
                        name_of(from, message.index) + ", sent");
  }

  // All ranks go on together, when the last of them is there.
  bool take_collective(size_t caller, const Action& action) {
    std::vector<size_t> group;
    double clock = 0;
    for (size_t rank = 0; rank < lists_.size(); ++rank) {
      if (!calls_with(caller, rank, action)) continue;
      if (is_done(rank) || next_of(rank) != action) return false;
      // The update begins when all is sent.
      if (action.kind == ActionKind::kUpdate && queues_.has_open_sends(rank)) return false;
      group.push_back(rank);
      clock = std::max(clock, ranks_[rank].clock);
    }
    for (const size_t rank : group) {
      ++ranks_[rank].next;
      ranks_[rank].clock = clock;
    }
    return true;
  }

  // The gradient of a stage that both ends of the pipeline hold is completed by both.
  bool calls_with(size_t caller, size_t rank, const Action& action) const {
    if (action.kind == ActionKind::kUpdate) return true;
    const auto stage = static_cast<size_t>(action.stage);
    const bool completes = action.kind == ActionKind::kReduce && action.micro_batch < 0;
    if (completes && num_holders_[stage] > 1)
      return is_held_[static_cast<size_t>(pipeline_ranks_[rank])][stage];
    return pipeline_ranks_[rank] == pipeline_ranks_[caller];
  }

  void tell_stuck() {
    for (size_t rank = 0; rank < lists_.size(); ++rank) {
      if (!is_done(rank)) problems_.push_back(name_of(rank, ranks_[rank].next) + ": waits forever");
    }
  }

  void tell_unreceived() {
    for (const auto& [channel, sent] : messages_) {
      const auto started = num_started_.find(channel);
      const size_t num_started = started == num_started_.end() ? 0 : started->second;
      for (size_t i = num_started; i < sent.size(); ++i) {
        problems_.push_back(name_of(channel.from, sent[i].index) + ": rank " +
                            std::to_string(channel.to) + " does not receive it");
      }
    }
    for (size_t rank = 0; rank < lists_.size(); ++rank) {
      if (!is_done(rank)) continue;
      for (const auto& [awaited, receive] : ranks_[rank].receives) {
        problems_.push_back("rank " + std::to_string(rank) + ": what it receives for " +
                            stages_[static_cast<size_t>(awaited.stage)].name + " of micro-batch " +
                            std::to_string(awaited.micro_batch) + " is not used");
      }
    }
  }

  const Lists& lists_;
  const std::vector<StageDescriptor>& stages_;
  const Layout layout_;
  const std::vector<double> costs_;
  std::vector<Rank> ranks_;
  std::vector<int64_t> num_holders_;        // by stage
  std::vector<std::vector<bool>> is_held_;  // by rank of the pipeline and stage
  std::vector<int64_t> pipeline_ranks_;     // by rank
  MessageQueues queues_;
  std::map<Channel, std::vector<Message>> messages_;
  std::map<Channel, size_t> num_started_;  // receives
  std::vector<std::string> problems_;
};

// Ranks of the tensor and context axis compute the same micro-batches.
std::vector<std::string> peer_problems(const Lists& ranks,
                                       const std::vector<StageDescriptor>& stages,
                                       const Layout& layout) {
  std::vector<std::string> problems;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    RankPosition position = rank_position(layout, static_cast<int64_t>(rank));
    position.tensor = position.context = 0;
    const auto first = static_cast<size_t>(rank_at(layout, position));
    const auto differs = std::ranges::mismatch(ranks[first], ranks[rank]);
    if (differs.in1 == ranks[first].end() && differs.in2 == ranks[rank].end()) continue;
    const auto name = [&](const std::vector<Action>& list, auto at) {
      return at == list.end() ? std::string("nothing") : describe_action(*at, stages);
    };
    problems.push_back("action " + std::to_string(differs.in2 - ranks[rank].begin()) + ": rank " +
                       std::to_string(first) + " has " + name(ranks[first], differs.in1) +
                       ", rank " + std::to_string(rank) + " has " + name(ranks[rank], differs.in2));
  }
  return problems;
}

}  // namespace

bool is_collective(const Action& action) {
  return action.kind == ActionKind::kGather || action.kind == ActionKind::kReduce ||
         action.kind == ActionKind::kUpdate;
}

bool is_send(const Action& action) {
  return action.kind == ActionKind::kSendOutput || action.kind == ActionKind::kSendGradient;
}

std::vector<std::string> collective_problems(const Lists& ranks,
                                             const std::vector<StageDescriptor>& stages,
                                             const std::vector<int64_t>& numbers) {
  std::vector<std::string> problems;
  if (ranks.empty()) return problems;
  const std::vector<Action> expected = collectives(ranks.front());
  const auto name = [&](size_t rank, const std::vector<Action>& list, size_t i) {
    const auto number = numbers.empty() ? static_cast<int64_t>(rank) : numbers[rank];
    return "rank " + std::to_string(number) + " has " +
           (i < list.size() ? describe_action(list[i], stages) : std::string("nothing"));
  };
  for (size_t rank = 1; rank < ranks.size(); ++rank) {
    const std::vector<Action> own = collectives(ranks[rank]);
    const auto differs = std::ranges::mismatch(expected, own);
    if (differs.in1 == expected.end() && differs.in2 == own.end()) continue;
    const auto i = static_cast<size_t>(differs.in1 - expected.begin());
    problems.push_back("collective " + std::to_string(i) + ": " + name(0, expected, i) + ", " +
                       name(rank, own, i));
  }
  return problems;
}

std::vector<std::string> rank_problems(const Lists& ranks,
                                       const std::vector<StageDescriptor>& stages,
                                       const Layout& layout, const Pipeline& pipeline,
                                       MessagePaths paths) {
  std::vector<std::string> problems;
  for (int64_t place = 0; place < layout.pp; ++place) {
    Lists together;
    std::vector<int64_t> numbers;
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      if (rank_position(layout, static_cast<int64_t>(rank)).pipeline != place) continue;
      together.push_back(ranks[rank]);
      numbers.push_back(static_cast<int64_t>(rank));
    }
    std::ranges::copy(collective_problems(together, stages, numbers), std::back_inserter(problems));
  }
  std::ranges::copy(peer_problems(ranks, stages, layout), std::back_inserter(problems));
  Simulation simulation(ranks, stages, layout, pipeline, {}, paths);
  simulation.run();
  std::ranges::copy(simulation.problems(), std::back_inserter(problems));
  return problems;
}

double bubble_share(const std::vector<StageDescriptor>& stages, const std::vector<double>& costs,
                    const Pipeline& pipeline, int64_t num_rounds, bool recompute) {
  const Layout layout{.pp = pipeline.num_ranks};
  Lists ranks;
  for (int64_t rank = 0; rank < layout.pp; ++rank) {
    ranks.push_back(
        make_step(stages, layout, rank,
                  {.num_micro_batches = num_rounds, .recompute = recompute, .pipeline = pipeline}));
  }
  Simulation simulation(ranks, stages, layout, pipeline, costs);
  simulation.run();
  return simulation.idle_share();
}

}  // namespace hone::parallel
