#include "parallel/pipeline.h"

#include <algorithm>
#include <limits>
#include <string>

#include "core/error.h"

namespace hone::parallel {

int64_t Pipeline::chunk_end(int64_t chunk) const {
  return chunk + 1 < num_chunks() ? chunk_begins[static_cast<size_t>(chunk) + 1] : num_stages;
}

int64_t Pipeline::chunk_of(int64_t stage) const {
  const auto after = std::ranges::upper_bound(chunk_begins, stage);
  return after - chunk_begins.begin() - 1;
}

Pipeline whole_pipeline(int64_t num_stages) {
  return {.num_ranks = 1, .num_stages = num_stages, .chunk_begins = {0}};
}

Pipeline make_pipeline(const std::vector<double>& costs, int64_t num_ranks,
                       int64_t chunks_per_rank) {
  const auto num_stages = static_cast<int64_t>(costs.size());
  const int64_t num_chunks = num_ranks * chunks_per_rank;
  const int64_t num_blocks = num_stages - 2;
  if (num_chunks < 1 || num_blocks < num_chunks) {
    core::fail(core::ErrorKind::kInternal, {.what = "more chunks than blocks",
                                            .got = std::to_string(num_chunks) + " chunks, " +
                                                   std::to_string(num_blocks) + " blocks"});
  }
  // Blocks only: the embedding's cost goes to the first, the head's to the last.
  std::vector<double> before(static_cast<size_t>(num_blocks) + 1);
  for (int64_t i = 0; i < num_blocks; ++i) {
    double cost = costs[static_cast<size_t>(i) + 1];
    if (i == 0) cost += costs.front();
    if (i == num_blocks - 1) cost += costs.back();
    before[static_cast<size_t>(i) + 1] = before[static_cast<size_t>(i)] + cost;
  }
  // least[c][i]: the most costly of c + 1 chunks over the first i blocks, at best.
  constexpr double kNever = std::numeric_limits<double>::infinity();
  const auto width = static_cast<size_t>(num_blocks) + 1;
  std::vector<std::vector<double>> least(static_cast<size_t>(num_chunks),
                                         std::vector<double>(width, kNever));
  std::vector<std::vector<size_t>> cut(static_cast<size_t>(num_chunks),
                                       std::vector<size_t>(width, 0));
  for (size_t i = 1; i < width; ++i) least[0][i] = before[i];
  for (size_t c = 1; c < static_cast<size_t>(num_chunks); ++c) {
    for (size_t i = c + 1; i < width; ++i) {
      for (size_t from = c; from < i; ++from) {
        const double most = std::max(least[c - 1][from], before[i] - before[from]);
        if (most < least[c][i]) {
          least[c][i] = most;
          cut[c][i] = from;
        }
      }
    }
  }
  Pipeline pipeline{.num_ranks = num_ranks,
                    .num_stages = num_stages,
                    .chunk_begins = std::vector<int64_t>(static_cast<size_t>(num_chunks), 0)};
  size_t end = width - 1;
  for (size_t c = static_cast<size_t>(num_chunks) - 1; c > 0; --c) {
    end = cut[c][end];
    pipeline.chunk_begins[c] = static_cast<int64_t>(end) + 1;
  }
  return pipeline;
}

}  // namespace hone::parallel
