// Steps to test schedules with: kinds of models on layouts, under every option.
#pragma once

#include <string>
#include <vector>

#include "parallel/schedule.h"
#include "parallel/shards.h"

namespace hone::parallel {

// Embedding, blocks, head. Byte figures are each of another power, so sums tell what was counted.
inline std::vector<StageDescriptor> full_model(int num_blocks = 3) {
  std::vector<StageDescriptor> stages{{"embed", 100, 400, 10, 1}};
  for (int i = 0; i < num_blocks; ++i)
    stages.push_back({"layers." + std::to_string(i), 50, 200, 10, 1000});
  stages.push_back({"head", 5, 20, 0, 500});
  stages.front().backward_reads_parameters = false;
  return stages;
}

// LoRA: embedding and head are frozen.
inline std::vector<StageDescriptor> adapter_model(int num_blocks = 3) {
  auto stages = full_model(num_blocks);
  stages.front().num_trainable = 0;
  stages.back().num_trainable = 0;
  return stages;
}

inline std::vector<StageDescriptor> head_only_model() {
  auto stages = full_model();
  for (size_t i = 0; i + 1 < stages.size(); ++i) stages[i].num_trainable = 0;
  return stages;
}

inline std::vector<StageDescriptor> tied(std::vector<StageDescriptor> stages) {
  stages.back().shares_with = 0;
  return stages;
}

// Level 3 is what gathers.
inline std::vector<StageDescriptor> gathered(std::vector<StageDescriptor> stages) {
  for (StageDescriptor& stage : stages) stage.is_gathered = true;
  return stages;
}

struct StepCase {
  std::string name;
  std::vector<StageDescriptor> stages;
  Layout layout;
  StepOptions options;

  std::vector<std::vector<Action>> all_ranks() const {
    std::vector<std::vector<Action>> lists;
    for (int64_t rank = 0; rank < layout.num_ranks(); ++rank)
      lists.push_back(make_step(stages, layout, rank, options));
    return lists;
  }
};

struct NamedModel {
  std::string name;
  std::vector<StageDescriptor> stages;
};

inline std::vector<NamedModel> named_models() {
  auto embedding_lora = tied(adapter_model());
  embedding_lora.front().num_trainable = 8;
  embedding_lora.front().backward_reads_parameters = true;
  return {{"full", full_model()},           {"tied", tied(full_model())},
          {"lora", adapter_model()},        {"tied lora", tied(adapter_model())},
          {"head only", head_only_model()}, {"embedding lora", embedding_lora}};
}

inline const std::vector<Layout>& all_layouts() {
  static const std::vector<Layout> layouts{
      {},
      {.dp_replicate = 2},
      {.dp_replicate = 3},
      {.dp_shard = 2},
      {.dp_shard = 3},
      {.dp_shard = 4},
      {.dp_replicate = 2, .dp_shard = 2},
      {.dp_replicate = 2, .dp_shard = 3},
  };
  return layouts;
}

// Every model and option on these layouts with these numbers of micro-batches, of which some leave
// ranks idle.
inline std::vector<StepCase> step_cases(const std::vector<Layout>& layouts,
                                        const std::vector<int64_t>& micro_batches) {
  std::vector<StepCase> cases;
  for (const auto& [model, plain] : named_models()) {
    for (const Layout& layout : layouts) {
      for (int64_t level = kShardOptimizer; level <= kShardParameters; ++level) {
        if (layout.dp_shard == 1 && level > kShardOptimizer) continue;
        const bool is_gathered = layout.dp_shard > 1 && level == kShardParameters;
        for (const int64_t count : micro_batches) {
          for (const int bits : {0, 1, 2, 3, 4, 5, 6, 7}) {
            const StepOptions options{.num_micro_batches = count,
                                      .recompute = (bits & 1) != 0,
                                      .shard_level = level,
                                      .strict = (bits & 2) != 0,
                                      .overlap_reduce = (bits & 4) != 0};
            cases.push_back({model + " on " + describe_layout(layout) + ", level " +
                                 std::to_string(level) + ", " + std::to_string(count) +
                                 " micro-batches" + (options.recompute ? ", recompute" : "") +
                                 (options.strict ? ", strict" : "") +
                                 (options.overlap_reduce ? ", overlap" : ""),
                             is_gathered ? gathered(plain) : plain, layout, options});
          }
        }
      }
    }
  }
  return cases;
}

}  // namespace hone::parallel
