#include "data/loader.h"

#include <map>
#include <random>
#include <set>
#include <thread>

#include "data/token_cache.h"
#include "tests/data/support.h"

namespace hone::data {
namespace {

// Rows of random lengths; row i's first token is i. A tenth of them has no trained token.
TokenCache make_cache(const TempFolder& folder, int num_rows, int max_length, uint32_t seed = 7) {
  std::mt19937 random(seed);
  TokenCacheWriter writer(folder.path() / "tokens", "key");
  DatasetTotals totals;
  for (int i = 0; i < num_rows; ++i) {
    MaskedTokens row;
    const size_t length = 2 + random() % static_cast<uint32_t>(max_length - 1);
    row.ids.assign(length, 1000 + i);
    row.ids[0] = i;
    row.trained.assign(length, 0);
    if (i % 10 != 9)
      std::fill(row.trained.begin() + static_cast<int>(length) / 2, row.trained.end(), 1);
    ++totals.num_rows;
    totals.num_tokens += static_cast<int64_t>(length);
    writer.append(row);
  }
  writer.finish(totals);
  return TokenCache::open(folder.path() / "tokens");
}

bool equal(const MicroBatch& a, const MicroBatch& b) {
  return a.input_ids == b.input_ids && a.labels == b.labels && a.position_ids == b.position_ids &&
         a.cu_doc_lens == b.cu_doc_lens && a.sample_ids == b.sample_ids &&
         a.num_trained_tokens == b.num_trained_tokens;
}

struct LoaderCase {
  bool packing;
  bool shuffle;
  int64_t micro_batch_size, accumulation;
};

class LoaderTest : public testing::TestWithParam<LoaderCase> {
 protected:
  static constexpr int64_t kMaxLength = 64;
  LoaderTest() : cache_(make_cache(folder_, 2500, kMaxLength)) {}
  LoaderOptions options() const {
    return {.packing = GetParam().packing,
            .max_length = kMaxLength,
            .micro_batch_size = GetParam().micro_batch_size,
            .gradient_accumulation_steps = GetParam().accumulation,
            .shuffle = GetParam().shuffle};
  }
  TempFolder folder_;
  TokenCache cache_;
};

TEST_P(LoaderTest, EveryTrainedRowOnceAnEpoch) {
  const Loader loader(cache_, options());
  int64_t step = 0;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::multiset<int64_t> seen;
    for (int64_t s = 0; s < loader.num_steps_per_epoch(epoch); ++s, ++step) {
      EXPECT_EQ(static_cast<int64_t>(loader.epoch_of_step(step)), epoch);
      for (int64_t i = 0; i < loader.num_micro_batches(step); ++i) {
        const MicroBatch batch = loader.micro_batch(step, i);
        seen.insert(batch.sample_ids.begin(), batch.sample_ids.end());
      }
    }
    ASSERT_EQ(seen.size(), 2250u);
    EXPECT_EQ(std::set<int64_t>(seen.begin(), seen.end()).size(), 2250u);
    for (const int64_t row : seen) EXPECT_NE(row % 10, 9);
  }
}

TEST_P(LoaderTest, DocumentsLieEndToEndWithShiftedLabels) {
  const Loader loader(cache_, options());
  for (int64_t step = 0; step < 20; ++step) {
    int64_t num_trained = 0;
    for (int64_t i = 0; i < loader.num_micro_batches(step); ++i) {
      const MicroBatch batch = loader.micro_batch(step, i);
      const size_t num_tokens = batch.input_ids.size();
      if (GetParam().packing) {
        EXPECT_LE(num_tokens, static_cast<size_t>(kMaxLength * GetParam().micro_batch_size));
      } else {
        EXPECT_EQ(static_cast<int64_t>(batch.sample_ids.size()), GetParam().micro_batch_size);
      }
      ASSERT_EQ(batch.position_ids.size(), num_tokens);
      ASSERT_EQ(batch.labels.size(), num_tokens);
      ASSERT_EQ(batch.cu_doc_lens.size(), batch.sample_ids.size() + 1);
      EXPECT_EQ(batch.cu_doc_lens.front(), 0);
      EXPECT_EQ(batch.cu_doc_lens.back(), static_cast<int32_t>(num_tokens));
      int64_t labels = 0;
      for (size_t d = 0; d < batch.sample_ids.size(); ++d) {
        const TokenRow row = cache_.row(batch.sample_ids[d]);
        const auto begin = static_cast<size_t>(batch.cu_doc_lens[d]);
        for (size_t t = 0; t < row.ids.size(); ++t) {
          EXPECT_EQ(batch.input_ids[begin + t], row.ids[t]);
          EXPECT_EQ(batch.position_ids[begin + t], static_cast<int32_t>(t));
          const bool trained = t + 1 < row.ids.size() && row.trained[t + 1];
          EXPECT_EQ(batch.labels[begin + t], trained ? row.ids[t + 1] : -100);
          labels += trained;
        }
      }
      EXPECT_EQ(batch.num_trained_tokens, labels);
      num_trained += labels;
    }
    EXPECT_EQ(loader.num_trained_tokens(step), num_trained);
  }
}

TEST_P(LoaderTest, AnyMicroBatchIsAPureFunctionOfItsPlace) {
  const Loader sequential(cache_, options());
  const int64_t num_steps =
      sequential.num_steps_per_epoch(0) + sequential.num_steps_per_epoch(1) + 5;
  std::vector<MicroBatch> batches;
  std::vector<std::pair<int64_t, int64_t>> places;
  for (int64_t step = 0; step < num_steps; ++step) {
    for (int64_t i = 0; i < sequential.num_micro_batches(step); ++i) {
      batches.push_back(sequential.micro_batch(step, i));
      places.emplace_back(step, i);
    }
  }
  std::mt19937 random(3);
  for (int round = 0; round < 30; ++round) {
    const size_t k = random() % places.size();
    const Loader fresh(cache_, options());
    EXPECT_TRUE(equal(fresh.micro_batch(places[k].first, places[k].second), batches[k]));
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, LoaderTest,
                         testing::Values(LoaderCase{true, true, 1, 4}, LoaderCase{true, true, 3, 2},
                                         LoaderCase{true, false, 1, 1},
                                         LoaderCase{false, true, 4, 2},
                                         LoaderCase{false, false, 1, 7}),
                         [](const auto& info) {
                           const LoaderCase& c = info.param;
                           return std::string(c.packing ? "packed" : "rows") +
                                  (c.shuffle ? "_shuffled_" : "_in_order_") +
                                  std::to_string(c.micro_batch_size) + "x" +
                                  std::to_string(c.accumulation);
                         });

TEST(LoaderOrderTest, SeedAndEpochChangeTheOrder) {
  const TempFolder folder;
  const TokenCache cache = make_cache(folder, 300, 32);
  LoaderOptions options{.packing = false, .max_length = 32, .micro_batch_size = 270};
  const Loader loader(cache, options);
  options.seed = 43;
  const Loader other(cache, options);
  EXPECT_NE(loader.micro_batch(0, 0).sample_ids, other.micro_batch(0, 0).sample_ids);
  EXPECT_NE(loader.micro_batch(0, 0).sample_ids, loader.micro_batch(1, 0).sample_ids);
  options.shuffle = false;
  const Loader in_order(cache, options);
  EXPECT_TRUE(std::ranges::is_sorted(in_order.micro_batch(0, 0).sample_ids));
}

TEST(LoaderOrderTest, LastStepOfAnEpochKeepsThePartialBatch) {
  const TempFolder folder;
  const TokenCache cache = make_cache(folder, 9, 32);  // 9 rows, all trained
  const Loader loader(cache, {.packing = false,
                              .max_length = 32,
                              .micro_batch_size = 2,
                              .gradient_accumulation_steps = 3});
  EXPECT_EQ(loader.num_steps_per_epoch(0), 2);
  EXPECT_EQ(loader.num_micro_batches(0), 3);
  EXPECT_EQ(loader.num_micro_batches(1), 2);
  EXPECT_EQ(loader.micro_batch(1, 1).sample_ids.size(), 1u);
  EXPECT_EQ(loader.num_micro_batches(2), 3);
  EXPECT_DOUBLE_EQ(loader.epoch_of_step(3), 1.5);
  EXPECT_THROW(loader.micro_batch(1, 2), core::Error);
}

TEST(LoaderOrderTest, PackedOrderDoesNotFollowLength) {
  const TempFolder folder;
  const TokenCache cache = make_cache(folder, 1000, 64);
  const Loader loader(cache, {.packing = true, .max_length = 64});
  // The longest row comes first in a window's packing; shuffled packs must not begin with the
  // longest rows.
  std::vector<int64_t> first_lengths;
  for (int64_t step = 0; step < 40; ++step) {
    first_lengths.push_back(loader.micro_batch(step, 0).cu_doc_lens[1]);
  }
  EXPECT_FALSE(std::ranges::is_sorted(first_lengths, std::greater<>()));
}

TEST(LoaderOrderTest, PacksAreNearlyFull) {
  const TempFolder folder;
  const TokenCache cache = make_cache(folder, 2000, 64);
  const Loader loader(cache, {.packing = true, .max_length = 256});
  int64_t tokens = 0;
  for (int64_t row = 0; row < cache.num_rows(); ++row)
    tokens += row % 10 == 9 ? 0 : cache.num_row_tokens(row);
  EXPECT_GT(static_cast<double>(tokens) / static_cast<double>(loader.num_positions(0) * 256), 0.98);
}

TEST(LoaderOrderTest, ThreadsSeeTheSameBatches) {
  const TempFolder folder;
  const TokenCache cache = make_cache(folder, 500, 32);
  const Loader loader(cache, {.packing = true, .max_length = 64});
  std::vector<std::vector<int64_t>> sums(4);
  {
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < sums.size(); ++t) {
      threads.emplace_back([&, t] {
        for (int64_t step = 0; step < 600; step += 7)
          sums[t].push_back(loader.micro_batch(step, 0).sample_ids[0]);
      });
    }
  }
  for (const auto& sum : sums) EXPECT_EQ(sum, sums[0]);
}

TEST(LoaderOrderTest, CacheWithoutTrainedRowsIsRefused) {
  const TempFolder folder;
  TokenCacheWriter writer(folder.path() / "tokens", "key");
  writer.append({.ids = {1, 2}, .trained = {1, 0}});
  writer.finish({.num_rows = 1, .num_tokens = 2});
  const TokenCache cache = TokenCache::open(folder.path() / "tokens");
  const Failure failure = failure_of([&] { Loader(cache, {}); });
  EXPECT_EQ(failure.kind, core::ErrorKind::kBadInput);
}

}  // namespace
}  // namespace hone::data
