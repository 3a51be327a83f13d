#include "trainer/step_numbers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "parallel/comm/threads.h"

namespace hone::trainer {
namespace {

data::MicroBatch micro_batch(int64_t num_tokens, int64_t num_trained, int32_t source) {
  data::MicroBatch result;
  const auto size = static_cast<size_t>(num_tokens);
  result.input_ids.assign(size, 1);
  result.labels.assign(size, -100);
  std::fill_n(result.labels.begin(), num_trained, 1);
  result.cu_doc_lens = {0, static_cast<int32_t>(num_tokens)};
  result.sample_ids = {0};
  result.source_ids = {source};
  result.num_trained_tokens = num_trained;
  return result;
}

// Losses whose sum depends on the order of adding them.
double loss_of(int64_t index) { return std::pow(10.0, static_cast<double>(index % 5)) / 3.0; }

void enter(MicroBatchNumbers& numbers, int64_t index) {
  const std::vector<double> losses{loss_of(index) / 2, loss_of(index) / 2};
  numbers.enter(index, micro_batch(10 + index, 2, static_cast<int32_t>(index % 2)), loss_of(index),
                losses);
}

TEST(MicroBatchNumbers, SumsHaveTheSameBitsOnAnyNumberOfRanks) {
  constexpr int64_t kCount = 11;
  double expected = 0;
  int64_t tokens = 0;
  for (int64_t i = 0; i < kCount; ++i) {
    expected += loss_of(i);
    tokens += 10 + i;
  }
  for (const int ranks : {1, 2, 3, 4}) {
    parallel::run_ranks(ranks, [&](parallel::Communicator& world) {
      parallel::Mesh mesh = parallel::make_mesh(world, {.dp_replicate = ranks});
      MicroBatchNumbers numbers(kCount, 2);
      for (int64_t i = world.rank(); i < kCount; i += ranks) enter(numbers, i);
      std::vector<double> more{1.0 + world.rank(), 0.5};
      numbers.exchange(mesh, more);
      EXPECT_EQ(numbers.loss_sum(), expected);
      EXPECT_EQ(numbers.num_tokens(), tokens);
      EXPECT_EQ(numbers.num_trained_tokens(), 2 * kCount);
      EXPECT_EQ(numbers.first_not_finite(), -1);
      const SourceLosses sources = numbers.by_source();
      ASSERT_EQ(sources.size(), 2u);
      EXPECT_EQ(sources[0].num_trained_tokens, 12);
      EXPECT_EQ(sources[1].num_trained_tokens, 10);
      EXPECT_EQ(more[0], ranks * (ranks + 1) / 2.0);
      EXPECT_EQ(more[1], 0.5 * ranks);
    });
  }
}

TEST(MicroBatchNumbers, LossThatIsNotFiniteIsKnownToAllByItsMicroBatch) {
  parallel::run_ranks(3, [](parallel::Communicator& world) {
    parallel::Mesh mesh = parallel::make_mesh(world, {.dp_shard = 3});
    MicroBatchNumbers numbers(5, 1);
    const auto own = static_cast<int64_t>(world.rank());
    const bool is_bad = own == 1;
    numbers.enter(own + 3 * (own == 1), micro_batch(4, 1, 0),
                  is_bad ? std::numeric_limits<double>::quiet_NaN() : 1.0, {});
    numbers.exchange(mesh);
    EXPECT_EQ(numbers.first_not_finite(), 4);
    EXPECT_TRUE(std::isnan(numbers.loss_of(4)));
    EXPECT_TRUE(numbers.by_source().empty());
  });
}

}  // namespace
}  // namespace hone::trainer
