#include "parallel/pipeline_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace hone::parallel {
namespace {

Pipeline even_pipeline(int64_t num_ranks, int64_t chunks_per_rank) {
  Pipeline pipeline{.num_ranks = num_ranks, .num_stages = num_ranks * chunks_per_rank + 2};
  for (int64_t chunk = 1; chunk < num_ranks * chunks_per_rank; ++chunk)
    pipeline.chunk_begins.push_back(chunk + 1);
  return pipeline;
}

// "F0" and "B0" are round 0; with several chunks "F2.0" is of chunk 2.
std::string text_of(const Pipeline& pipeline, int64_t rank, int64_t num_rounds) {
  std::string text;
  for (const PipelineEvent& event : pipeline_order(pipeline, rank, num_rounds)) {
    text += text.empty() ? "" : " ";
    text += event.is_forward ? "F" : "B";
    if (pipeline.num_chunks() > pipeline.num_ranks) text += std::to_string(event.chunk) + ".";
    text += std::to_string(event.round);
  }
  return text;
}

TEST(PipelineOrder, OneRankFinishesAMicroBatchBeforeTheNext) {
  EXPECT_EQ(text_of(whole_pipeline(5), 0, 3), "F0 B0 F1 B1 F2 B2");
}

TEST(PipelineOrder, OneChunkARankWarmsUpAlternatesAndCoolsDown) {
  const Pipeline pipeline = even_pipeline(3, 1);
  EXPECT_EQ(text_of(pipeline, 0, 4), "F0 F1 F2 B0 F3 B1 B2 B3");
  EXPECT_EQ(text_of(pipeline, 1, 4), "F0 F1 B0 F2 B1 F3 B2 B3");
  EXPECT_EQ(text_of(pipeline, 2, 4), "F0 B0 F1 B1 F2 B2 F3 B3");
}

TEST(PipelineOrder, FewerMicroBatchesThanRanksAllGoForwardFirst) {
  EXPECT_EQ(text_of(even_pipeline(4, 1), 0, 2), "F0 F1 B0 B1");
  EXPECT_EQ(text_of(even_pipeline(4, 1), 2, 2), "F0 F1 B0 B1");
  EXPECT_EQ(text_of(even_pipeline(4, 1), 3, 2), "F0 B0 F1 B1");
}

TEST(PipelineOrder, SeveralChunksARankTakeTurnsInGroupsOfMicroBatches) {
  const Pipeline pipeline = even_pipeline(2, 2);
  EXPECT_EQ(text_of(pipeline, 0, 4),
            "F0.0 F0.1 F2.0 F2.1 F0.2 B2.0 F0.3 B2.1 F2.2 B0.0 F2.3 B0.1 B2.2 B2.3 B0.2 B0.3");
  EXPECT_EQ(text_of(pipeline, 1, 4),
            "F1.0 F1.1 F3.0 B3.0 F3.1 B3.1 F1.2 B1.0 F1.3 B1.1 F3.2 B3.2 F3.3 B3.3 B1.2 B1.3");
}

TEST(PipelineOrder, ARemainderIsSpreadOverTheGroups) {
  EXPECT_EQ(text_of(even_pipeline(2, 2), 1, 3),
            "F1.0 F1.1 F1.2 F3.0 B3.0 F3.1 B3.1 F3.2 B3.2 B1.0 B1.1 B1.2");
  EXPECT_EQ(text_of(even_pipeline(2, 2), 1, 5),
            "F1.0 F1.1 F1.2 F3.0 B3.0 F3.1 B3.1 F3.2 B3.2 F1.3 B1.0 F1.4 B1.1 F3.3 B1.2 "
            "F3.4 B3.3 B3.4 B1.3 B1.4");
}

TEST(PipelineOrder, EveryChunkGoesOnceForwardAndThenOnceBackwardInEveryRound) {
  for (int64_t num_ranks = 1; num_ranks <= 6; ++num_ranks) {
    for (int64_t chunks = 1; chunks <= 3; ++chunks) {
      const Pipeline pipeline = even_pipeline(num_ranks, chunks);
      for (int64_t num_rounds = 1; num_rounds <= 13; ++num_rounds) {
        for (int64_t rank = 0; rank < num_ranks; ++rank) {
          std::set<std::pair<int64_t, int64_t>> forward, backward;
          for (const auto& [is_forward, chunk, round] :
               pipeline_order(pipeline, rank, num_rounds)) {
            EXPECT_EQ(chunk % num_ranks, rank);
            EXPECT_TRUE((is_forward ? forward : backward).insert({chunk, round}).second);
            if (!is_forward) {
              EXPECT_TRUE(forward.contains({chunk, round}));
            }
          }
          EXPECT_EQ(forward.size(), static_cast<size_t>(chunks * num_rounds));
          EXPECT_EQ(forward, backward);
        }
      }
    }
  }
}

TEST(PipelineOrder, OneChunkARankHasAsManyMicroBatchesInFlightAsRanksFollow) {
  for (int64_t num_ranks = 1; num_ranks <= 6; ++num_ranks) {
    for (int64_t num_rounds = 1; num_rounds <= 13; ++num_rounds) {
      for (int64_t rank = 0; rank < num_ranks; ++rank) {
        int64_t in_flight = 0, most = 0;
        for (const PipelineEvent& event :
             pipeline_order(even_pipeline(num_ranks, 1), rank, num_rounds)) {
          in_flight += event.is_forward ? 1 : -1;
          most = std::max(most, in_flight);
        }
        EXPECT_EQ(most, std::min(num_rounds, num_ranks - rank));
      }
    }
  }
}

}  // namespace
}  // namespace hone::parallel
