#include "parallel/pipeline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "core/error.h"

namespace hone::parallel {
namespace {

double most_costly_chunk(const std::vector<double>& costs, const std::vector<int64_t>& begins) {
  double most = 0;
  for (size_t chunk = 0; chunk < begins.size(); ++chunk) {
    const auto end = chunk + 1 < begins.size() ? costs.begin() + begins[chunk + 1] : costs.end();
    most = std::max(most, std::accumulate(costs.begin() + begins[chunk], end, 0.0));
  }
  return most;
}

// Over all ways to cut before a block, the first block excepted.
double least_by_trying_all(const std::vector<double>& costs, int64_t num_chunks) {
  double least = std::numeric_limits<double>::infinity();
  std::vector<int64_t> begins{0};
  const std::function<void()> extend = [&] {
    if (static_cast<int64_t>(begins.size()) == num_chunks) {
      least = std::min(least, most_costly_chunk(costs, begins));
      return;
    }
    const int64_t first = begins.size() == 1 ? 2 : begins.back() + 1;
    for (int64_t begin = first; begin < static_cast<int64_t>(costs.size()) - 1; ++begin) {
      begins.push_back(begin);
      extend();
      begins.pop_back();
    }
  };
  extend();
  return least;
}

TEST(PipelineCut, TheMostCostlyChunkCostsAsLittleAsCanBe) {
  std::mt19937 random(1);
  for (int64_t num_blocks = 1; num_blocks <= 9; ++num_blocks) {
    for (int64_t num_chunks = 1; num_chunks <= num_blocks; ++num_chunks) {
      for (int trial = 0; trial < 20; ++trial) {
        std::vector<double> costs(static_cast<size_t>(num_blocks) + 2);
        for (double& cost : costs) cost = static_cast<double>(random() % 10);
        const Pipeline pipeline = make_pipeline(costs, num_chunks, 1);
        ASSERT_EQ(pipeline.num_chunks(), num_chunks);
        EXPECT_DOUBLE_EQ(most_costly_chunk(costs, pipeline.chunk_begins),
                         least_by_trying_all(costs, num_chunks));
      }
    }
  }
}

TEST(PipelineCut, EveryChunkHasABlockAndTheEndsHaveEmbeddingAndHead) {
  // The head costs more than all the rest: only a block beside it is left.
  const Pipeline pipeline = make_pipeline({50, 1, 1, 1, 1, 1, 500}, 2, 2);
  EXPECT_EQ(pipeline.chunk_begins.front(), 0);
  EXPECT_GE(pipeline.chunk_begins[1], 2);
  EXPECT_LE(pipeline.chunk_begins.back(), 5);
  EXPECT_TRUE(std::ranges::is_sorted(pipeline.chunk_begins, std::less_equal<>{}));
}

TEST(PipelineCut, ChunksAreDealtOutToTheRanksInTurn) {
  const Pipeline pipeline = make_pipeline({0, 1, 1, 1, 1, 1, 1, 1, 1, 0}, 2, 2);
  EXPECT_EQ(pipeline.num_chunks(), 4);
  EXPECT_EQ(pipeline.chunk_begins, (std::vector<int64_t>{0, 3, 5, 7}));
  std::vector<int64_t> ranks, chunks;
  for (int64_t stage = 0; stage < 10; ++stage) {
    ranks.push_back(pipeline.rank_of(stage));
    chunks.push_back(pipeline.chunk_of(stage));
  }
  EXPECT_EQ(ranks, (std::vector<int64_t>{0, 0, 0, 1, 1, 0, 0, 1, 1, 1}));
  EXPECT_EQ(chunks, (std::vector<int64_t>{0, 0, 0, 1, 1, 2, 2, 3, 3, 3}));
  EXPECT_EQ(pipeline.chunk_end(1), 5);
  EXPECT_EQ(pipeline.chunk_end(3), 10);
}

TEST(PipelineCut, MoreChunksThanBlocksAreRefused) {
  EXPECT_THROW(make_pipeline({1, 1, 1, 1}, 3, 1), core::Error);
  EXPECT_THROW(make_pipeline({1, 1, 1, 1}, 2, 2), core::Error);
  EXPECT_EQ(make_pipeline({1, 1, 1, 1}, 2, 1).chunk_begins, (std::vector<int64_t>{0, 2}));
}

TEST(PipelineCut, AWholePipelineHasAllStagesOnOneRank) {
  const Pipeline pipeline = whole_pipeline(4);
  for (int64_t stage = 0; stage < 4; ++stage) EXPECT_EQ(pipeline.rank_of(stage), 0);
  EXPECT_EQ(pipeline.chunk_end(0), 4);
}

}  // namespace
}  // namespace hone::parallel
