// The loss of a model that ranks hold and compute together, against one rank.
#include <gtest/gtest.h>

#include <mutex>

#include "parallel/comm/threads.h"
#include "tests/trainer/ranks_model.h"
#include "trainer/evaluate.h"

namespace hone::trainer {
namespace {

constexpr double kLossBound = 1e-6;  // relative

struct EvaluateCase {
  parallel::Layout layout;
  std::string model;

  std::string name() const {
    const auto part = [](const char* axis, int64_t size) {
      return size == 1 ? "" : axis + std::to_string(size) + "_";
    };
    return part("replicate", layout.dp_replicate) + part("shard", layout.dp_shard) +
           part("cp", layout.cp) + part("tp", layout.tp) + part("pp", layout.pp) +
           (model == "tiny-chat" ? "tiny" : model.substr(5));
  }
};

std::vector<EvaluateCase> all_cases() {
  return {{{.dp_replicate = 2}, "tiny-chat"},
          {{.dp_shard = 3}, "tiny-chat"},
          {{.tp = 2}, "tiny-chat"},
          {{.tp = 3}, "made/nine_wide"},
          {{.tp = 4}, "made/eight_wide_tied"},
          {{.cp = 2}, "made/eight_wide"},
          {{.cp = 3}, "made/nine_wide_tied"},
          {{.cp = 4}, "tiny-chat"},
          {{.pp = 2}, "made/eight_wide_window"},
          {{.pp = 3}, "made/nine_wide_tied"},
          {{.cp = 2, .tp = 2}, "made/eight_wide_tied"},
          {{.tp = 2, .pp = 2}, "made/eight_wide_tied"},
          {{.cp = 2, .pp = 2}, "made/eight_wide"},
          {{.dp_replicate = 2, .tp = 2}, "made/eight_wide"},
          {{.dp_replicate = 2, .pp = 2}, "made/eight_wide_tied"},
          {{.dp_shard = 2, .cp = 2}, "made/eight_wide"},
          {{.dp_replicate = 2, .cp = 2, .tp = 2}, "made/eight_wide"}};
}

class EvaluateRanks : public testing::TestWithParam<EvaluateCase> {
 protected:
  std::vector<EvalResult> on(const parallel::Layout& layout, bool lora, bool packing) {
    std::vector<EvalResult> results(static_cast<size_t>(layout.num_ranks()));
    std::mutex mutex;
    parallel::run_ranks(static_cast<int>(layout.num_ranks()), [&](parallel::Communicator& world) {
      parallel::Mesh mesh = parallel::make_mesh(world, layout);
      models::Model model = folder_.load(mesh, lora);
      const data::Loader loader(data_, {.packing = packing,
                                        .max_length = 64,
                                        .micro_batch_size = packing ? 1 : 3,
                                        .shuffle = false});
      const EvalResult own = *evaluate(model, loader, mesh);
      const std::lock_guard lock(mutex);
      results[static_cast<size_t>(world.rank())] = own;
    });
    return results;
  }

  TempFolder cache_;
  data::TokenCache data_ = tiny_data(cache_.path(), "test.jsonl");
  ModelFolder folder_{GetParam().model};
};

TEST_P(EvaluateRanks, LossAndTokensAreThoseOfOneRankOnAllRanks) {
  for (const bool lora : {false, true}) {
    for (const bool packing : {false, true}) {
      SCOPED_TRACE((lora ? "lora" : "full") + std::string(packing ? ", packed" : ""));
      const EvalResult one = on({}, lora, packing).front();
      const auto many = on(GetParam().layout, lora, packing);
      for (const EvalResult& result : many) {
        EXPECT_EQ(result.loss, many.front().loss);
        EXPECT_NEAR(result.loss / one.loss, 1, kLossBound);
        EXPECT_EQ(result.num_tokens, one.num_tokens);
        EXPECT_EQ(result.num_trained_tokens, one.num_trained_tokens);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, EvaluateRanks, testing::ValuesIn(all_cases()),
                         [](const auto& info) { return info.param.name(); });

}  // namespace
}  // namespace hone::trainer
