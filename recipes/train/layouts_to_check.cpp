#include "recipes/train/layouts_to_check.h"

#include "models/spec/shard_plan.h"

namespace hone::recipes {
namespace {

std::vector<LayoutToCheck> data_parallel_layouts(int64_t num_ranks) {
  std::vector<LayoutToCheck> layouts{{{.dp_replicate = num_ranks}, 0}};
  for (const int64_t level : {1, 2, 3}) layouts.push_back({{.dp_shard = num_ranks}, level});
  if (num_ranks > 2 && num_ranks % 2 == 0)
    layouts.push_back({{.dp_replicate = 2, .dp_shard = num_ranks / 2}, 3});
  return layouts;
}

std::vector<LayoutToCheck> split_layouts(int64_t num_ranks) {
  std::vector<LayoutToCheck> layouts{
      {{.tp = num_ranks}, 0}, {{.cp = num_ranks}, 3}, {{.pp = num_ranks}, 0}};
  for (int64_t tp = 2; tp < num_ranks; ++tp) {
    if (num_ranks % tp == 0) layouts.push_back({{.tp = tp, .pp = num_ranks / tp}, 0});
  }
  return layouts;
}

}  // namespace

std::string LayoutToCheck::name() const {
  const std::string text = parallel::describe_layout(layout);
  return level == 0 ? text : text + ", level " + std::to_string(level);
}

LayoutsToCheck layouts_to_check(const models::ModelSpec& spec, int64_t num_ranks) {
  LayoutsToCheck wanted{.layouts = data_parallel_layouts(num_ranks), .left_out = {}};
  for (const LayoutToCheck& layout : split_layouts(num_ranks)) {
    const auto problems = models::shard_plan_problems(spec, layout.layout, 1);
    if (problems.empty()) wanted.layouts.push_back(layout);
    if (!problems.empty())
      wanted.left_out.push_back(parallel::describe_layout(layout.layout) + ": " +
                                problems.front().equation);
  }
  return wanted;
}

}  // namespace hone::recipes
