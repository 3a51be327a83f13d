// One of four ranks is killed again and again, whatever the run does just then.
#include <random>

#include "tests/e2e/ranks.h"

namespace hone::test {
namespace {

constexpr int kKills = 20;
constexpr int kSteps = 200;

std::map<std::string, std::string> many_saves() {
  return for_ranks({{"max_steps", std::to_string(kSteps)},
                    {"save_steps", "2"},
                    {"save_total_limit", "2"},
                    {"eval_steps", "50"},
                    {"sample_steps", "100"},
                    {"report_to", "none"}});
}

size_t num_rows(const Workspace& work) {
  const fs::path metrics = work / "out" / "metrics.jsonl";
  return fs::exists(metrics) ? timeless_metrics(metrics).size() : 0;
}

TEST(RanksRandomKills, TwentyKillsAndResumesEndAsTheRunWithoutThem) {
  const Sizes sizes{.replicate = 2, .shard = 2, .level = 3};
  Workspace whole, killed;
  whole.write_recipe(many_saves());
  killed.write_recipe(many_saves());
  ASSERT_EQ(train_on(whole, sizes).code, 0);
  std::mt19937 random(20260131);
  int num_in_steps = 0;
  for (int kill = 0; kill < kKills; ++kill) {
    const int rank = static_cast<int>(random() % 4);
    const auto delay = std::chrono::milliseconds(random() % 400);
    SCOPED_TRACE("kill " + std::to_string(kill) + " of rank " + std::to_string(rank));
    bool is_over = false;
    const ProcessResult result = train_on(killed, sizes, {"--resume"}, [&](pid_t pid) {
      const size_t before = num_rows(killed);
      // Every fifth is killed while the run is still prepared.
      const auto is_due = [&] {
        if (kill % 5 == 4) return rank_processes(pid).size() == 4;
        return num_rows(killed) != before;
      };
      ASSERT_TRUE(wait_until(is_due));
      std::this_thread::sleep_for(delay);
      const auto ranks = rank_processes(pid);
      is_over = ranks.size() < 4;
      if (!is_over) ::kill(ranks.at(rank), SIGKILL);
    });
    ASSERT_FALSE(is_over) << "the run had ended before: " << result.err;
    ASSERT_EQ(result.code, 128 + SIGKILL) << result.err;
    num_in_steps += times(result.err, "FATAL 76 rank=") == 3 ? 1 : 0;
  }
  EXPECT_GT(num_in_steps, kKills / 2) << "the others should mostly have come to name it";
  ASSERT_LT(num_rows(killed), num_rows(whole)) << "the last run has nothing left to do";
  const ProcessResult last = train_on(killed, sizes, {"--resume"});
  ASSERT_EQ(last.code, 0) << last.err;
  expect_same_bytes(whole, killed, kSteps);
}

}  // namespace
}  // namespace hone::test
