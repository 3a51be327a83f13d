#include "parallel/pipeline_order.h"

#include <algorithm>

namespace hone::parallel {
namespace {

// How many micro-batches go through a chunk before the rank turns to its next one. With fewer than
// there are ranks a micro-batch would come around too late, and ranks could wait for each other: a
// remainder is spread over the groups. The first is the largest.
std::vector<int64_t> group_sizes(int64_t num_rounds, int64_t num_ranks) {
  const int64_t num_groups = std::max<int64_t>(1, num_rounds / num_ranks);
  std::vector<int64_t> sizes(static_cast<size_t>(num_groups), num_rounds / num_groups);
  for (int64_t i = 0; i < num_rounds % num_groups; ++i) ++sizes[static_cast<size_t>(i)];
  return sizes;
}

std::vector<PipelineEvent> events_one_way(const Pipeline& pipeline, int64_t rank,
                                          int64_t num_rounds, bool is_forward) {
  const int64_t chunks_per_rank = pipeline.num_chunks() / pipeline.num_ranks;
  std::vector<PipelineEvent> events;
  int64_t begin = 0;
  for (const int64_t size : group_sizes(num_rounds, pipeline.num_ranks)) {
    for (int64_t i = 0; i < chunks_per_rank; ++i) {
      const int64_t turn = is_forward ? i : chunks_per_rank - 1 - i;
      for (int64_t round = begin; round < begin + size; ++round)
        events.push_back({is_forward, turn * pipeline.num_ranks + rank, round});
    }
    begin += size;
  }
  return events;
}

// How many forwards come before the first backward, so that its gradient is there when its turn
// comes.
int64_t num_ahead(const Pipeline& pipeline, int64_t rank, int64_t num_rounds) {
  const int64_t chunks_per_rank = pipeline.num_chunks() / pipeline.num_ranks;
  const int64_t behind = pipeline.num_ranks - 1 - rank;
  const int64_t group = group_sizes(num_rounds, pipeline.num_ranks).front();
  return chunks_per_rank == 1 ? behind : 2 * behind + (chunks_per_rank - 1) * group;
}

}  // namespace

std::vector<PipelineEvent> pipeline_order(const Pipeline& pipeline, int64_t rank,
                                          int64_t num_rounds) {
  const auto forwards = events_one_way(pipeline, rank, num_rounds, true);
  const auto backwards = events_one_way(pipeline, rank, num_rounds, false);
  const size_t ahead =
      std::min(static_cast<size_t>(num_ahead(pipeline, rank, num_rounds)), forwards.size());
  std::vector<PipelineEvent> order(forwards.begin(),
                                   forwards.begin() + static_cast<ptrdiff_t>(ahead));
  for (size_t i = 0; i < backwards.size(); ++i) {
    if (i + ahead < forwards.size()) order.push_back(forwards[i + ahead]);
    order.push_back(backwards[i]);
  }
  return order;
}

}  // namespace hone::parallel
