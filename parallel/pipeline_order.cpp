#include "parallel/pipeline_order.h"

#include <algorithm>

namespace hone::parallel {
namespace {

std::vector<PipelineEvent> events_one_way(const Pipeline& pipeline, int64_t rank,
                                          int64_t num_rounds, bool is_forward) {
  const int64_t chunks_per_rank = pipeline.num_chunks() / pipeline.num_ranks;
  std::vector<PipelineEvent> events;
  for (int64_t begin = 0; begin < num_rounds; begin += pipeline.num_ranks) {
    const int64_t end = std::min(begin + pipeline.num_ranks, num_rounds);
    for (int64_t i = 0; i < chunks_per_rank; ++i) {
      const int64_t turn = is_forward ? i : chunks_per_rank - 1 - i;
      for (int64_t round = begin; round < end; ++round)
        events.push_back({is_forward, turn * pipeline.num_ranks + rank, round});
    }
  }
  return events;
}

// How many forwards come before the first backward, so that its gradient is there when its turn
// comes.
int64_t num_ahead(const Pipeline& pipeline, int64_t rank) {
  const int64_t chunks_per_rank = pipeline.num_chunks() / pipeline.num_ranks;
  const int64_t behind = pipeline.num_ranks - 1 - rank;
  return chunks_per_rank == 1 ? behind : 2 * behind + (chunks_per_rank - 1) * pipeline.num_ranks;
}

}  // namespace

std::vector<PipelineEvent> pipeline_order(const Pipeline& pipeline, int64_t rank,
                                          int64_t num_rounds) {
  const auto forwards = events_one_way(pipeline, rank, num_rounds, true);
  const auto backwards = events_one_way(pipeline, rank, num_rounds, false);
  const size_t ahead = std::min(static_cast<size_t>(num_ahead(pipeline, rank)), forwards.size());
  std::vector<PipelineEvent> order(forwards.begin(),
                                   forwards.begin() + static_cast<ptrdiff_t>(ahead));
  for (size_t i = 0; i < backwards.size(); ++i) {
    if (i + ahead < forwards.size()) order.push_back(forwards[i + ahead]);
    order.push_back(backwards[i]);
  }
  return order;
}

int64_t max_in_flight(const Pipeline& pipeline, int64_t rank) {
  return num_ahead(pipeline, rank) + 1;
}

}  // namespace hone::parallel
