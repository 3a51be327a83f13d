#include "recipes/plan/step_time.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "parallel/step_ranks.h"

namespace hone::recipes {
namespace {

using parallel::Action;
using parallel::ActionKind;

constexpr double kFloat = 4;
constexpr double kForward = 2;          // a multiply and an add, for each weight and token
constexpr double kRowChunks = 4;        // of products over the tensor axis, on GPUs
constexpr int64_t kMostHeadChunks = 4;  // of attention over the context axis, on GPUs
// Attention's operations backward as they are counted, and with the scores that it computes again.
constexpr double kCountedBackward = 2, kComputedBackward = 2.5;
// AdamW reads gradient, master and moments, writes master, moments and what is computed with.
constexpr double kUpdateBytes = 30;
// How often the activations that a stage keeps go to memory or come from there besides: written and
// read between products forward, read with their gradients written and read backward.
constexpr double kPasses = 6;
constexpr double kLogitPasses = 4;  // written, read for the loss, turned into gradients, read
// Of the lists of a pipeline of more micro-batches than this a shorter one is run for its bubble.
constexpr int64_t kMostRounds = 256;

double of(int64_t count) { return static_cast<double>(count); }

enum Axis : size_t { kTensor, kContext, kShard, kReplicate, kPipeline, kNumAxes };

class Clock {
 public:
  Clock(const PlanInput& input, const ShardTable& table, const StepLists& lists)
      : input_(input),
        table_(table),
        lists_(lists),
        flops_(stage_flops(input, table)),
        num_recomputed_(flops_.size()) {
    for (const auto& actions : lists.by_place) {
      for (const Action& action : actions) {
        if (action.kind == ActionKind::kRecompute)
          ++num_recomputed_[static_cast<size_t>(action.stage)];
      }
    }
    const parallel::Layout& layout = input.layout;
    const std::array<std::pair<const char*, int64_t>, kNumAxes> axes{
        {{"tensor", layout.tp},
         {"context", layout.cp},
         {"dp_shard", layout.dp_shard},
         {"dp_replicate", layout.dp_replicate},
         {"pipeline", layout.pp}}};
    int64_t stride = 1;
    for (const auto& [name, size] : axes) {
      traffic_.push_back({.name = name});
      set_ranks(traffic_.back(), size, stride);
      stride *= size;
    }
  }

  TimePlan plan() {
    count_flops();
    const std::vector<double> costs = stage_costs();
    plan_.compute_seconds = pipeline_seconds(costs);
    shard_traffic();
    replicate_traffic();
    pipeline_traffic();
    plan_.update_seconds = update_seconds();
    plan_.seconds = plan_.compute_seconds + plan_.update_seconds;
    for (const size_t axis : {kShard, kReplicate, kPipeline})
      plan_.seconds += traffic_[axis].exposed;
    std::ranges::copy_if(traffic_, std::back_inserter(plan_.axes),
                         [](const AxisTraffic& axis) { return axis.size > 1; });
    return plan_;
  }

 private:
  bool overlaps() const { return input_.hardware.is_gpu; }
  double forward_seconds(const StageFlops& flops) const {
    return products_seconds(flops.forward - flops.scores) + scores_seconds(flops.scores);
  }
  // Attention computes its scores once more, which is not counted among the operations.
  double backward_seconds(const StageFlops& flops) const {
    if (flops.backward == 0) return 0;
    return products_seconds(flops.backward - kCountedBackward * flops.scores) +
           scores_seconds(kComputedBackward * flops.scores);
  }
  // Forward and backward, without attention's.
  double row_products_seconds(const StageFlops& flops) const {
    const double scores = (flops.backward > 0 ? 1 + kCountedBackward : 1) * flops.scores;
    return products_seconds(flops.forward + flops.backward - scores);
  }
  double products_seconds(double flops) const {
    return flops / input_.hardware.step_flops(input_.is_bfloat16);
  }
  double scores_seconds(double flops) const {
    return flops / input_.hardware.attention_flops(input_.is_bfloat16);
  }
  // `stride`: ranks between neighbours of the axis.
  void set_ranks(AxisTraffic& axis, int64_t size, int64_t stride) const {
    const Hardware& hardware = input_.hardware;
    axis.size = size;
    axis.crosses_nodes = size > 1 && size * stride > hardware.ranks_per_node;
    axis.bandwidth = hardware.link_bandwidth;
    if (!axis.crosses_nodes) return;
    // Rings go through the adapters of all ranks that the axis has in a node.
    const int64_t members = std::clamp<int64_t>(hardware.ranks_per_node / stride, 1, size);
    axis.bandwidth = std::min(hardware.link_bandwidth, of(members) * hardware.network_bandwidth);
  }
  // Of a ring in which every rank sends (n - 1) / n of the bytes.
  double ring_bytes(size_t axis, double bytes) const {
    const double n = of(traffic_[axis].size);
    return bytes * (n - 1) / n;
  }
  double seconds_of(size_t axis, double sent, double num_messages) const {
    return sent / traffic_[axis].bandwidth + num_messages * input_.hardware.latency_seconds;
  }

  void count_flops() {
    const double ranks_of_a_micro_batch = of(input_.layout.tp * input_.layout.cp);
    const double count = of(input_.num_micro_batches());
    double again = 0, all = 0;
    for (size_t stage = 0; stage < flops_.size(); ++stage) {
      all += flops_[stage].forward + flops_[stage].backward;
      again += num_recomputed_[stage] * flops_[stage].forward;
    }
    plan_.step_flops = all * ranks_of_a_micro_batch * count;
    plan_.recompute_flops = again * ranks_of_a_micro_batch * of(input_.layout.data_parallel_size());
  }

  // Seconds of a stage, forward and backward, for a micro-batch, with what it exchanges inside.
  std::vector<double> stage_costs() {
    std::vector<double> costs;
    const auto last = flops_.size() - 1;
    for (size_t stage = 0; stage < flops_.size(); ++stage) {
      const bool is_block = stage > 0 && stage < last;
      const StageFlops& flops = flops_[stage];
      costs.push_back(
          forward_seconds(flops) + backward_seconds(flops) + memory_seconds(stage, is_block) +
          tensor_seconds(is_block, row_products_seconds(flops)) + context_seconds(flops, is_block));
    }
    return costs;
  }

  // What lies between the products is as fast as memory is.
  double memory_seconds(size_t stage, bool is_block) const {
    const double logits =
        tokens() * of(input_.spec.vocab_size) / of(input_.layout.tp) * of(input_.element_bytes());
    const double bytes = is_block     ? kPasses * of(table_.stages[stage].graph_bytes)
                         : stage == 0 ? 0
                                      : kLogitPasses * logits;
    return bytes / input_.hardware.memory_bandwidth;
  }

  double tokens() const { return of(input_.micro_batch_tokens()) / of(input_.layout.cp); }

  // Rows to the products and back: gathered before two and reduced after two, forward and
  // backward. Chunks hide all but the first behind products as long.
  double tensor_seconds(bool is_block, double products) {
    AxisTraffic& axis = traffic_[kTensor];
    if (axis.size == 1) return 0;
    constexpr double kTransfers = 8, kOfEnds = 2;
    const double count = is_block ? kTransfers : kOfEnds;
    const double whole = tokens() * of(input_.spec.hidden_size) * of(input_.element_bytes());
    const double sent = count * ring_bytes(kTensor, whole);
    const double seconds = seconds_of(kTensor, sent, count * of(axis.size - 1));
    const double hidden =
        overlaps() && is_block ? std::min(products, seconds) * (1 - 1 / kRowChunks) : 0;
    return add(axis, sent, seconds, seconds - hidden);
  }

  // Tokens for heads and back, forward and backward. Chunks of heads hide all but the first behind
  // attention as long (models/overlapped_attention.h).
  double context_seconds(const StageFlops& flops, bool is_block) {
    AxisTraffic& axis = traffic_[kContext];
    if (axis.size == 1 || !is_block) return 0;
    const models::ModelSpec& spec = input_.spec;
    const double heads =
        2.0 * of(spec.num_heads) + 2.0 * of(std::max(spec.num_kv_heads, axis.size));
    const double width = heads * of(spec.head_dim) / of(input_.layout.tp);
    const bool has_backward = flops.backward > 0;
    const double directions = has_backward ? 2 : 1;
    constexpr double kMessages = 2;  // there and back
    const double sent =
        directions * ring_bytes(kContext, tokens() * width * of(input_.element_bytes()));
    const double seconds = seconds_of(kContext, sent, directions * kMessages * of(axis.size - 1));
    const int64_t kv_heads = spec.num_kv_heads / (input_.layout.tp * axis.size);
    const double chunks = of(std::clamp<int64_t>(kv_heads, 1, kMostHeadChunks));
    const double attention =
        scores_seconds((has_backward ? 1 + kComputedBackward : 1) * flops.scores);
    const double hidden = overlaps() ? std::min(attention, seconds) * (1 - 1 / chunks) : 0;
    return add(axis, sent, seconds, seconds - hidden);
  }

  // For every micro-batch of the stages of one place.
  double add(AxisTraffic& axis, double sent, double seconds, double exposed) {
    const double count = of(input_.accumulation) / of(input_.layout.pp);
    axis.bytes += count * sent;
    axis.seconds += count * seconds;
    axis.exposed += count * exposed;
    return exposed;
  }

  double pipeline_seconds(const std::vector<double>& costs) {
    const double sum = std::accumulate(costs.begin(), costs.end(), 0.0);
    const double again = recompute_seconds();
    const double pp = of(input_.layout.pp), rounds = of(input_.accumulation);
    if (input_.layout.pp == 1) return rounds * sum + again;
    const int64_t few = std::min(input_.accumulation, kMostRounds);
    double idle =
        parallel::bubble_share(table_.stages, costs, input_.pipeline, few, input_.recompute);
    // The waiting at both ends stays as it is while rounds become more.
    const double waits = idle / (1 - idle) * of(few);
    idle = waits / (waits + rounds);
    plan_.bubble = idle;
    return (rounds * sum + again) / pp / (1 - idle);
  }

  // Of all places together.
  double recompute_seconds() const {
    double seconds = 0;
    for (size_t stage = 0; stage < flops_.size(); ++stage) {
      seconds += num_recomputed_[stage] *
                 (forward_seconds(flops_[stage]) + memory_seconds(stage, true) / 3);
    }
    return seconds;
  }

  double whole_bytes(int64_t stage) const {
    const StageShare& share = table_.of(0, static_cast<size_t>(stage));
    return of(input_.element_bytes()) * of(share.trainable + share.frozen);
  }
  double trainable_bytes(int64_t stage) const {
    return kFloat * of(table_.of(0, static_cast<size_t>(stage)).trainable);
  }

  // Parameters are gathered one use ahead and gradients reduced when they are there. The axis is
  // that of dp_shard and context together.
  void shard_traffic() {
    AxisTraffic& axis = traffic_[kShard];
    const int64_t parts = input_.layout.dp_shard * input_.layout.cp;
    if (parts == 1) return;
    set_ranks(axis, parts, input_.layout.tp);
    double first = 0;
    for (const auto& actions : lists_.by_place) {
      double bytes = 0, hidden_bytes = 0, count = 0;
      for (const Action& action : actions) {
        if (action.kind == ActionKind::kGather) hidden_bytes += whole_bytes(action.stage);
        const bool is_round = action.kind == ActionKind::kReduce && action.micro_batch >= 0;
        const bool is_once = action.kind == ActionKind::kReduce && action.micro_batch < 0 &&
                             input_.shard_level < parallel::kShardGradients;
        if (is_round || is_once) bytes += trainable_bytes(action.stage);
        count += action.kind == ActionKind::kGather || is_round || is_once ? 1 : 0;
      }
      if (input_.shard_level < parallel::kShardParameters) {
        for (size_t stage = 0; stage < table_.stages.size(); ++stage) {
          if (input_.pipeline.rank_of(static_cast<int64_t>(stage)) == 0)
            bytes += of(input_.element_bytes()) * of(table_.of(0, stage).trainable);
        }
      }
      const double sent = ring_bytes(kShard, bytes + hidden_bytes);
      if (sent <= axis.bytes) continue;
      axis.bytes = sent;
      axis.seconds = seconds_of(kShard, sent, count * of(parts - 1));
      first = seconds_of(kShard, ring_bytes(kShard, whole_bytes(0)), of(parts - 1));
    }
    axis.exposed = axis.seconds;
    if (overlaps()) axis.exposed = std::max(first, axis.seconds - plan_.compute_seconds);
  }

  void replicate_traffic() {
    AxisTraffic& axis = traffic_[kReplicate];
    if (axis.size == 1) return;
    const double kept = kFloat * most_trainable() / of(input_.layout.dp_shard * input_.layout.cp);
    constexpr double kThereAndBack = 2;
    axis.bytes = kThereAndBack * ring_bytes(kReplicate, kept);
    axis.seconds = seconds_of(kReplicate, axis.bytes,
                              kThereAndBack * of(axis.size - 1) * of(input_.spec.num_layers() + 2));
    // A stage's is on its way while those below it are computed, in the last round.
    const double last_backward = 2.0 / 3 * plan_.compute_seconds / of(input_.accumulation);
    axis.exposed = overlaps() ? std::max(0.0, axis.seconds - last_backward) : axis.seconds;
  }

  // Sends run beside what is computed; the waiting for the first is in the bubble.
  void pipeline_traffic() {
    AxisTraffic& axis = traffic_[kPipeline];
    if (axis.size == 1) return;
    const double message =
        tokens() / of(input_.layout.tp) * of(input_.spec.hidden_size) * of(input_.element_bytes());
    int64_t most = 0;
    for (const auto& actions : lists_.by_place) {
      most = std::max<int64_t>(most, std::ranges::count_if(actions, parallel::is_send));
    }
    axis.bytes = of(most) * message;
    axis.seconds = seconds_of(kPipeline, axis.bytes, of(most));
    axis.exposed = overlaps() ? std::max(0.0, axis.seconds - plan_.compute_seconds) : axis.seconds;
  }

  double update_seconds() const {
    return kUpdateBytes * most_trainable() / of(input_.layout.dp_shard * input_.layout.cp) /
           input_.hardware.memory_bandwidth;
  }

  // Elements of the place in the pipeline that holds most.
  double most_trainable() const {
    int64_t most = 0;
    for (int64_t place = 0; place < input_.layout.pp; ++place) {
      const auto held = parallel::held_stages(table_.stages, input_.pipeline, place);
      int64_t elements = 0;
      for (size_t stage = 0; stage < held.size(); ++stage)
        if (held[stage]) elements += table_.of(0, stage).trainable;
      most = std::max(most, elements);
    }
    return of(most);
  }

  const PlanInput& input_;
  const ShardTable& table_;
  const StepLists& lists_;
  const std::vector<StageFlops> flops_;
  std::vector<double> num_recomputed_;  // by stage, micro-batches of a step on a rank
  std::vector<AxisTraffic> traffic_;
  TimePlan plan_;
};

}  // namespace

std::vector<StageFlops> stage_flops(const PlanInput& input, const ShardTable& table) {
  const double tokens = of(input.micro_batch_tokens()) / of(input.layout.cp);
  const int64_t first_trainable = parallel::first_trainable_stage(table.stages);
  std::vector<StageFlops> flops(table.stages.size());
  for (size_t stage = 1; stage < flops.size(); ++stage) {
    StageShare share = table.of(0, stage);
    const bool is_head = stage + 1 == flops.size();
    if (is_head && table.has_tied_head) {
      share.trained_matrix += table.of(0, 0).trained_matrix;
      share.frozen_matrix += table.of(0, 0).frozen_matrix;
    }
    const bool has_backward = static_cast<int64_t>(stage) >= first_trainable;
    const double matrices = of(share.trained_matrix + share.frozen_matrix);
    flops[stage].forward = kForward * matrices * tokens;
    if (has_backward)
      flops[stage].backward = kForward * (matrices + of(share.trained_matrix)) * tokens;
    if (is_head) continue;
    const int64_t window =
        input.spec.layers[stage - 1].mixer == models::MixerKind::kSlidingAttention
            ? input.spec.layers[stage - 1].sliding_window
            : 0;
    constexpr double kProducts = 2;
    const double pairs =
        of(models::attention_pairs(input.row_tokens, window)) * of(input.micro_batch_size);
    const double scores = kForward * kProducts * pairs *
                          of(input.spec.num_heads * input.spec.head_dim) /
                          of(input.layout.tp * input.layout.cp);
    flops[stage].scores = scores;
    flops[stage].forward += scores;
    if (has_backward) flops[stage].backward += kCountedBackward * scores;
  }
  return flops;
}

TimePlan plan_time(const PlanInput& input, const ShardTable& table, const StepLists& lists) {
  return Clock(input, table, lists).plan();
}

}  // namespace hone::recipes
