// What else a recipe could say for the same result, and which of it saves most.
#include <algorithm>
#include <set>
#include <tuple>

#include "models/spec/shard_plan.h"
#include "recipes/plan/plan.h"

namespace hone::recipes {
namespace {

struct Proposal {
  std::string what;
  PlanInput input;
};

std::string key(const char* name, int64_t value) {
  return std::string(name) + ": " + std::to_string(value);
}

class Proposals {
 public:
  explicit Proposals(const PlanInput& input) : input_(input) {}

  std::vector<Proposal> all() {
    recompute();
    micro_batches();
    shards();
    axes();
    pipeline();
    dtype();
    return std::move(found_);
  }

 private:
  void propose(const std::string& what, PlanInput changed) {
    if (!models::shard_plan_problems(changed.spec, changed.layout, changed.chunks_per_rank).empty())
      return;
    changed.pipeline = plan_pipeline(changed);
    found_.push_back({what, std::move(changed)});
  }

  void recompute() {
    PlanInput changed = input_;
    changed.recompute = !input_.recompute;
    propose(std::string("gradient_checkpointing: ") + (changed.recompute ? "true" : "false"),
            changed);
  }

  // The rows of a step stay the same.
  void micro_batches() {
    if (input_.micro_batch_size % 2 == 0) {
      PlanInput changed = input_;
      changed.micro_batch_size /= 2;
      changed.accumulation *= 2;
      propose(key("micro_batch_size", changed.micro_batch_size), changed);
    }
    if (input_.accumulation % 2 == 0) {
      PlanInput changed = input_;
      changed.micro_batch_size *= 2;
      changed.accumulation /= 2;
      propose(key("micro_batch_size", changed.micro_batch_size), changed);
    }
  }

  void shards() {
    const parallel::Layout& layout = input_.layout;
    if (layout.dp_replicate > 1) {
      PlanInput changed = input_;
      changed.layout.dp_shard *= layout.dp_replicate;
      changed.layout.dp_replicate = 1;
      propose(key("dp_shard_size", changed.layout.dp_shard), changed);
    }
    if (layout.dp_shard == 1) return;
    for (const int64_t level : {1, 2, 3}) {
      if (level == input_.shard_level) continue;
      PlanInput changed = input_;
      changed.shard_level = level;
      propose(key("dp_shard_level", level), changed);
    }
    PlanInput changed = input_;
    changed.layout.dp_replicate *= layout.dp_shard;
    changed.layout.dp_shard = 1;
    propose(key("dp_shard_size", 1), changed);
  }

  // Ranks of the data-parallel axes that compute together instead, or the other way round.
  void axes() {
    axis("tensor_parallel_size", &parallel::Layout::tp);
    axis("context_parallel_size", &parallel::Layout::cp);
    axis("pipeline_parallel_size", &parallel::Layout::pp);
  }
  void axis(const char* name, int64_t parallel::Layout::*size) {
    for (int64_t parallel::Layout::*data :
         {&parallel::Layout::dp_replicate, &parallel::Layout::dp_shard}) {
      if (input_.layout.*data % 2 != 0) continue;
      PlanInput changed = input_;
      changed.layout.*data /= 2;
      changed.layout.*size *= 2;
      changed.accumulation *= 2;
      propose(key(name, changed.layout.*size), changed);
      break;
    }
    if (input_.layout.*size % 2 == 0 && input_.accumulation % 2 == 0) {
      PlanInput changed = input_;
      changed.layout.*size /= 2;
      changed.layout.dp_shard *= 2;
      changed.accumulation /= 2;
      propose(
          key(name, changed.layout.*size) + ", " + key("dp_shard_size", changed.layout.dp_shard),
          changed);
    }
  }

  void pipeline() {
    if (input_.layout.pp == 1) return;
    PlanInput changed = input_;
    changed.chunks_per_rank = input_.chunks_per_rank == 1 ? 2 : 1;
    propose(
        changed.chunks_per_rank == 1 ? "pipeline_schedule: 1f1b" : "pipeline_schedule: interleaved",
        changed);
  }

  void dtype() {
    PlanInput changed = input_;
    changed.is_bfloat16 = !input_.is_bfloat16;
    propose(std::string("dtype: ") + (changed.is_bfloat16 ? "bfloat16" : "float32"), changed);
  }

  const PlanInput& input_;
  std::vector<Proposal> found_;
};

std::vector<int64_t> divisors(int64_t n) {
  std::vector<int64_t> all;
  for (int64_t d = 1; d <= n; ++d) {
    if (n % d == 0) all.push_back(d);
  }
  return all;
}

// Layouts of the ranks that compute a step of as many micro-batches.
std::vector<PlanInput> same_steps(const PlanInput& input) {
  const int64_t num_ranks = input.layout.num_ranks(), total = input.num_micro_batches();
  std::vector<PlanInput> found;
  const auto add = [&](const parallel::Layout& layout) {
    if (total % layout.data_parallel_size() != 0) return;
    PlanInput changed = input;
    changed.layout = layout;
    changed.accumulation = total / layout.data_parallel_size();
    changed.chunks_per_rank = layout.pp == 1 ? 1 : input.chunks_per_rank;
    if (!models::shard_plan_problems(input.spec, layout, changed.chunks_per_rank).empty()) return;
    changed.pipeline = plan_pipeline(changed);
    for (const bool recompute : {false, true}) {
      changed.recompute = recompute;
      found.push_back(changed);
    }
  };
  for (const int64_t tp : divisors(num_ranks)) {
    if (tp > input.hardware.ranks_per_node) continue;
    for (const int64_t pp : divisors(num_ranks / tp)) {
      for (const int64_t cp : divisors(num_ranks / tp / pp)) {
        if (cp > input.hardware.ranks_per_node) continue;
        const int64_t data = num_ranks / tp / pp / cp;
        std::set<int64_t> shards{1, data};
        for (const int64_t node : divisors(data))
          if (node * cp * tp == input.hardware.ranks_per_node) shards.insert(node);
        for (const int64_t shard : shards)
          add({.dp_replicate = data / shard, .dp_shard = shard, .cp = cp, .tp = tp, .pp = pp});
      }
    }
  }
  return found;
}

}  // namespace

std::vector<Change> best_changes(const PlanInput& input, const Plan& plan, size_t count) {
  std::vector<Change> changes;
  for (const Proposal& proposal : Proposals(input).all()) {
    const Plan other = estimate(proposal.input);
    changes.push_back({.what = proposal.what,
                       .bytes = plan.needed_bytes - other.needed_bytes,
                       .seconds = plan.time.seconds - other.time.seconds,
                       .fits = other.fits});
  }
  const bool for_time = plan.fits;
  std::erase_if(changes, [&](const Change& change) {
    return for_time ? change.seconds <= 0 || !change.fits : change.bytes <= 0;
  });
  std::ranges::sort(changes, [&](const Change& a, const Change& b) {
    // What makes it fit comes first, the fastest of these before the others.
    if (!for_time && a.fits != b.fits) return a.fits;
    return for_time || a.fits ? a.seconds > b.seconds : a.bytes > b.bytes;
  });
  if (changes.size() > count) changes.resize(count);
  return changes;
}

SearchResult search_layouts(const PlanInput& input) {
  SearchResult result;
  for (PlanInput& candidate : same_steps(input)) {
    const Plan plan = estimate(candidate);
    ++result.num_tried;
    if (!plan.fits) continue;
    result.fitting.push_back({.input = std::move(candidate),
                              .needed_bytes = plan.needed_bytes,
                              .seconds = plan.time.seconds,
                              .tokens_per_second = plan.time.tokens_per_second(input)});
  }
  std::ranges::sort(result.fitting, [](const Candidate& a, const Candidate& b) {
    return std::tie(a.seconds, a.needed_bytes) < std::tie(b.seconds, b.needed_bytes);
  });
  return result;
}

}  // namespace hone::recipes
