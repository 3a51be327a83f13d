#include "trainer/generate.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "core/rng.h"
#include "tests/trainer/support.h"

namespace hone::trainer {
namespace {

at::Tensor logits_of(const std::vector<float>& probabilities) {
  return at::tensor(probabilities).log();
}

std::map<int32_t, int> draws(const at::Tensor& logits_V, const GenerateOptions& options,
                             int count = 2000) {
  std::map<int32_t, int> counts;
  for (int i = 0; i < count; ++i) ++counts[sample_token(logits_V, options, (i + 0.5) / count)];
  return counts;
}

TEST(Sampling, GreedyAndZeroTemperatureTakeTheFirstLargest) {
  const at::Tensor logits = at::tensor({1.0F, 5.0F, 5.0F, 0.0F});
  EXPECT_EQ(sample_token(logits, {.greedy = true}, 0.99), 1);
  EXPECT_EQ(sample_token(logits, {.temperature = 0}, 0.99), 1);
}

TEST(Sampling, FrequenciesAreTheProbabilities) {
  const auto counts = draws(logits_of({0.5F, 0.1F, 0.4F}), {});
  EXPECT_NEAR(counts.at(0), 1000, 2);
  EXPECT_NEAR(counts.at(1), 200, 2);
  EXPECT_NEAR(counts.at(2), 800, 2);
}

TEST(Sampling, TemperatureSharpensAndFlattens) {
  const at::Tensor logits = logits_of({0.8F, 0.2F});
  EXPECT_NEAR(draws(logits, {.temperature = 0.5}).at(0), 2000 * 0.64 / 0.68, 3);
  EXPECT_NEAR(draws(logits, {.temperature = 2.0}).at(0), 2000 * 2.0 / 3.0, 3);
}

TEST(Sampling, TopKKeepsTheLikeliest) {
  const auto counts = draws(logits_of({0.1F, 0.4F, 0.2F, 0.3F}), {.top_k = 2});
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_NEAR(counts.at(1), 2000 * 4 / 7.0, 3);
  EXPECT_TRUE(counts.contains(3));
}

TEST(Sampling, TopPKeepsTheSmallestSetThatReachesIt) {
  const at::Tensor logits = logits_of({0.1F, 0.4F, 0.2F, 0.3F});
  EXPECT_EQ(draws(logits, {.top_p = 0.35}).size(), 1u);
  EXPECT_EQ(draws(logits, {.top_p = 0.65}).size(), 2u);
  EXPECT_EQ(draws(logits, {.top_p = 0.75}).size(), 3u);
  EXPECT_EQ(draws(logits, {.top_p = 1.0}).size(), 4u);
}

TEST(Sampling, TopPCountsWhatTopKLeft) {
  EXPECT_EQ(draws(logits_of({0.1F, 0.4F, 0.2F, 0.3F}), {.top_p = 0.5, .top_k = 2}).size(), 1u);
}

class GenerateTest : public ::testing::Test {
 protected:
  models::Model model_ = tiny_model(false);
  std::vector<int32_t> prompt_{5, 17, 300, 42};
};

// Logits of the whole sequence at once, the slow way.
int32_t next_by_full_forward(const models::Model& model, const std::vector<int32_t>& ids) {
  std::vector<int32_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<int32_t> bounds{0, static_cast<int32_t>(ids.size())};
  const models::Batch batch = models::make_batch(model, ids, positions, {}, bounds);
  at::Tensor x_TD;
  for (size_t i = 0; i + 1 < model.stages.size(); ++i)
    x_TD = model.stages[i].forward(x_TD, batch, {});
  const at::Tensor last = at::tensor({static_cast<int64_t>(ids.size()) - 1}, at::kLong);
  return static_cast<int32_t>(model.logits(x_TD, last).argmax(-1).item<int64_t>());
}

TEST_F(GenerateTest, GreedyEqualsAFullForwardAtEveryToken) {
  const auto ids = generate(model_, prompt_, {.max_new_tokens = 12, .greedy = true});
  ASSERT_EQ(ids.size(), 12u);
  std::vector<int32_t> all = prompt_;
  for (const int32_t id : ids) {
    EXPECT_EQ(id, next_by_full_forward(model_, all));
    all.push_back(id);
  }
}

TEST_F(GenerateTest, SeedDecidesTheText) {
  const GenerateOptions options{.max_new_tokens = 20, .seed = 1};
  GenerateOptions other = options;
  other.seed = 2;
  EXPECT_EQ(generate(model_, prompt_, options), generate(model_, prompt_, options));
  EXPECT_NE(generate(model_, prompt_, options), generate(model_, prompt_, other));
}

TEST_F(GenerateTest, EndsAfterAnEndOfSequenceIdOrWhenToldTo) {
  GenerateOptions options{.max_new_tokens = 12, .greedy = true};
  const auto ids = generate(model_, prompt_, options);
  const auto first_third = std::ranges::find(ids, ids[2]) - ids.begin();
  options.eos_token_ids = {ids[2]};
  EXPECT_EQ(generate(model_, prompt_, options).size(), static_cast<size_t>(first_third) + 1);
  options.eos_token_ids.clear();
  int seen = 0;
  EXPECT_EQ(generate(model_, prompt_, options, [&](int32_t) { return ++seen < 5; }).size(), 5u);
}

TEST_F(GenerateTest, PromptsTheModelCannotReadAreBadInput) {
  expect_failure([&] { generate(model_, {}, {}); }, core::ErrorKind::kBadInput, {"no tokens"});
  expect_failure([&] { generate(model_, std::vector<int32_t>{512}, {}); },
                 core::ErrorKind::kBadInput, {"512", "511"});
}

}  // namespace
}  // namespace hone::trainer
