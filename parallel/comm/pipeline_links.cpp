#include "parallel/comm/pipeline_links.h"

#include <map>

namespace hone::parallel {
namespace {

// Link i is that of ranks i and i + 1. A split makes links that have no rank in common: every
// second one, and the last of an odd ring alone.
int64_t split_of(int64_t link, int64_t num_ranks) {
  return link == num_ranks - 1 && num_ranks % 2 == 1 ? 2 : link % 2;
}

// The rank's link that a split makes, -1: none.
int64_t link_in(int64_t split, int64_t rank, int64_t num_ranks) {
  for (const int64_t link : {rank, (rank + num_ranks - 1) % num_ranks}) {
    if (split_of(link, num_ranks) == split) return link;
  }
  return -1;
}

}  // namespace

PipelineLinks make_pipeline_links(const Communicator& world, const Layout& layout) {
  const int64_t num_ranks = layout.pp;
  if (num_ranks == 1) {
    const Communicator alone(make_solo());
    return {alone, alone, alone, alone};
  }
  const RankPosition own = rank_position(layout, world.rank());
  std::map<int64_t, Communicator> up, down;  // by link
  for (int64_t split = 0; split < (num_ranks % 2 == 0 ? 2 : 3); ++split) {
    const int64_t link = link_in(split, own.pipeline, num_ranks);
    RankPosition lower = own;
    if (link >= 0) lower.pipeline = link;
    const int color = static_cast<int>(rank_at(layout, lower));
    const int key = lower.pipeline == own.pipeline ? 0 : 1;
    const Communicator of_outputs = world.split(color, key), of_gradients = world.split(color, key);
    if (link < 0) continue;
    up.emplace(link, of_outputs);
    down.emplace(link, of_gradients);
  }
  const int64_t above = own.pipeline, below = (own.pipeline + num_ranks - 1) % num_ranks;
  return {.from_below = up.at(below),
          .to_above = up.at(above),
          .from_above = down.at(above),
          .to_below = down.at(below)};
}

}  // namespace hone::parallel
