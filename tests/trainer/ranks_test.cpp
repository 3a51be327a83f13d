// Steps on several ranks against the same steps on one.
#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "parallel/comm/threads.h"
#include "tests/trainer/ranks_case.h"

namespace hone::trainer {
namespace {

constexpr double kLossBound = 1e-6, kNormBound = 1e-5;

RanksOutcome on_threads(const RanksCase& wanted) {
  RanksOutcome outcome;
  std::mutex mutex;
  parallel::run_ranks(static_cast<int>(wanted.layout.num_ranks()),
                      [&](parallel::Communicator& world) {
                        RanksOutcome own = run_ranks_case(world, wanted);
                        const std::lock_guard lock(mutex);
                        if (world.rank() == 0) outcome = std::move(own);
                      });
  return outcome;
}

// One rank's outcome is wanted again and again.
const RanksOutcome& reference(const RanksCase& wanted) {
  static std::map<std::string, RanksOutcome> known;
  const RanksCase one = wanted.on_one_rank();
  const auto [found, is_new] = known.try_emplace(one.name());
  if (is_new) found->second = on_threads(one);
  return found->second;
}

class Ranks : public testing::TestWithParam<RanksCase> {};

TEST_P(Ranks, StepsAreThoseOfOneRank) {
  const RanksCase& wanted = GetParam();
  const RanksOutcome& one = reference(wanted);
  const RanksOutcome many = on_threads(wanted);
  EXPECT_EQ(many.tokens, one.tokens);
  if (wanted.strict) {
    EXPECT_EQ(many.losses, one.losses);
    EXPECT_EQ(many.norms, one.norms);
    EXPECT_TRUE(many.weights == one.weights);
    return;
  }
  ASSERT_EQ(many.losses.size(), one.losses.size());
  for (size_t step = 0; step < one.losses.size(); ++step) {
    EXPECT_NEAR(many.losses[step] / one.losses[step], 1, kLossBound) << step;
    EXPECT_NEAR(many.norms[step] / one.norms[step], 1, kNormBound) << step;
  }
  const double difference = largest_difference(many.updates, one.updates);
  RecordProperty("difference", std::to_string(1e6 * difference) + "e-6");
  const double gradients = largest_difference(many.gradients, one.gradients);
  RecordProperty("gradients", std::to_string(1e6 * gradients) + "e-6");
  EXPECT_LT(gradients, kGradientBound);
  EXPECT_LT(difference, wanted.update_bound());
}

INSTANTIATE_TEST_SUITE_P(Layouts, Ranks, testing::ValuesIn(all_ranks_cases()),
                         [](const auto& info) { return info.param.name(); });

}  // namespace
}  // namespace hone::trainer
