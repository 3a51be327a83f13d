#include "parallel/pipeline_order.h"

#include <algorithm>

namespace hone::parallel {
namespace {

// `num_rounds` is a multiple of the number of ranks.
std::vector<PipelineEvent> events_one_way(const Pipeline& pipeline, int64_t rank,
                                          int64_t num_rounds, bool is_forward) {
  const int64_t chunks_per_rank = pipeline.num_chunks() / pipeline.num_ranks;
  std::vector<PipelineEvent> events;
  for (int64_t begin = 0; begin < num_rounds; begin += pipeline.num_ranks) {
    for (int64_t i = 0; i < chunks_per_rank; ++i) {
      const int64_t turn = is_forward ? i : chunks_per_rank - 1 - i;
      for (int64_t round = begin; round < begin + pipeline.num_ranks; ++round)
        events.push_back({is_forward, turn * pipeline.num_ranks + rank, round});
    }
  }
  return events;
}

// How many forwards come before the first backward, so that its gradient is there when its turn
// comes.
size_t num_ahead(const Pipeline& pipeline, int64_t rank) {
  const int64_t chunks_per_rank = pipeline.num_chunks() / pipeline.num_ranks;
  const int64_t behind = pipeline.num_ranks - 1 - rank;
  return static_cast<size_t>(
      chunks_per_rank == 1 ? behind : 2 * behind + (chunks_per_rank - 1) * pipeline.num_ranks);
}

int64_t whole_groups(int64_t num_rounds, int64_t size) {
  return (num_rounds + size - 1) / size * size;
}

}  // namespace

// The order of whole groups has no cycles; leaving events out of it on all ranks makes none.
// Several chunks a rank in an order made for a smaller last group can wait for each other.
std::vector<PipelineEvent> pipeline_order(const Pipeline& pipeline, int64_t rank,
                                          int64_t num_rounds) {
  const int64_t num_padded = whole_groups(num_rounds, pipeline.num_ranks);
  const auto forwards = events_one_way(pipeline, rank, num_padded, true);
  const auto backwards = events_one_way(pipeline, rank, num_padded, false);
  const size_t ahead = std::min(num_ahead(pipeline, rank), forwards.size());
  std::vector<PipelineEvent> order(forwards.begin(),
                                   forwards.begin() + static_cast<ptrdiff_t>(ahead));
  for (size_t i = 0; i < backwards.size(); ++i) {
    if (i + ahead < forwards.size()) order.push_back(forwards[i + ahead]);
    order.push_back(backwards[i]);
  }
  std::erase_if(order, [&](const PipelineEvent& event) { return event.round >= num_rounds; });
  return order;
}

std::vector<PipelineEvent> forward_order(const Pipeline& pipeline, int64_t rank,
                                         int64_t num_rounds) {
  auto order = events_one_way(pipeline, rank, whole_groups(num_rounds, pipeline.num_ranks), true);
  std::erase_if(order, [&](const PipelineEvent& event) { return event.round >= num_rounds; });
  return order;
}

}  // namespace hone::parallel
