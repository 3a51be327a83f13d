// Decoding and generating on the ranks that a model is split over, against one rank.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <mutex>
#include <numeric>

#include "models/decode.h"
#include "parallel/comm/threads.h"
#include "tests/support/model_run.h"
#include "tests/trainer/ranks_model.h"
#include "trainer/generate.h"

namespace hone::trainer {
namespace {

// Relative norm of logits; the most seen is 1.1e-6.
constexpr double kLogitsBound = 1e-5;

struct GenerateCase {
  parallel::Layout layout;
  std::string model;
  bool lora = false;

  std::string name() const {
    std::string text = "tp" + std::to_string(layout.tp) + "_cp" + std::to_string(layout.cp) +
                       "_pp" + std::to_string(layout.pp) + "_" +
                       (model == "tiny-chat" ? "tiny" : model.substr(5));
    return text + (lora ? "_lora" : "_full");
  }
};

std::vector<GenerateCase> all_cases() {
  const std::vector<GenerateCase> layouts{
      {{.tp = 2}, "tiny-chat"},
      {{.tp = 2}, "made/eight"},
      {{.tp = 2}, "made/eight_bias"},
      {{.tp = 2}, "made/eight_norm_tied"},
      {{.tp = 4}, "made/eight_tied"},  // ranks share key/value heads
      {{.tp = 4}, "made/eight_window"},
      {{.tp = 3}, "made/nine"},  // and split what nothing divides
      {{.tp = 3}, "made/nine_tied"},
      {{.tp = 9}, "made/nine"},
      {{.cp = 2}, "made/eight"},
      {{.cp = 2, .tp = 2}, "made/eight_window"},
      {{.pp = 2}, "made/eight"},
      {{.pp = 2}, "made/eight_tied"},
      {{.pp = 2}, "made/eight_window"},
      {{.pp = 3}, "made/nine_tied"},
      {{.tp = 2, .pp = 2}, "made/eight_tied"},
      {{.tp = 3, .pp = 2}, "made/nine"},
  };
  std::vector<GenerateCase> cases;
  for (GenerateCase one : layouts) {
    for (const bool lora : {false, true}) {
      one.lora = lora;
      cases.push_back(one);
    }
  }
  return cases;
}

// What every rank of the layout, or one rank alone, makes of `work`.
template <typename Result>
std::vector<Result> on_ranks_of(const ModelFolder& folder, const parallel::Layout& layout,
                                bool lora,
                                const std::function<Result(const models::Model&)>& work) {
  std::vector<Result> results(static_cast<size_t>(layout.num_ranks()));
  std::mutex mutex;
  parallel::run_ranks(static_cast<int>(layout.num_ranks()), [&](parallel::Communicator& world) {
    const at::NoGradGuard no_grad;
    parallel::Mesh mesh = parallel::make_mesh(world, layout);
    models::Model model = folder.load(mesh, lora);
    const WholeModel whole(model, mesh);  // parameters are sharded over the context axis
    Result own = work(model);
    const std::lock_guard lock(mutex);
    results[static_cast<size_t>(world.rank())] = std::move(own);
  });
  return results;
}

std::vector<int32_t> some_ids(size_t count) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>((i * 37 + 11) % 97));
  return ids;
}

// Logits after each of these feeds to one cache.
std::vector<at::Tensor> decode(const models::Model& model, const std::vector<size_t>& counts) {
  const size_t total = std::accumulate(counts.begin(), counts.end(), size_t{0});
  const std::vector<int32_t> ids = some_ids(total);
  const auto cache = models::make_kv_cache(model, static_cast<int64_t>(total));
  std::vector<at::Tensor> logits;
  size_t fed = 0;
  for (const size_t count : counts) {
    logits.push_back(
        models::decode_step(model, std::span<const int32_t>(ids).subspan(fed, count), *cache)
            .clone());
    fed += count;
  }
  return logits;
}

class GenerateRanks : public testing::TestWithParam<GenerateCase> {
 protected:
  void expect_logits_of_one_rank(const std::vector<size_t>& counts) {
    using Logits = std::vector<at::Tensor>;
    const std::function<Logits(const models::Model&)> work = [&](const models::Model& model) {
      return decode(model, counts);
    };
    const auto& [layout, name, lora] = GetParam();
    const Logits one = on_ranks_of<Logits>(folder_, {}, lora, work).front();
    double most = 0;
    for (const Logits& many : on_ranks_of<Logits>(folder_, layout, lora, work)) {
      ASSERT_EQ(many.size(), counts.size());
      for (size_t i = 0; i < counts.size(); ++i) {
        const double difference = models::relative_difference(many[i], one[i]);
        EXPECT_LT(difference, kLogitsBound) << "feed " << i;
        most = std::max(most, difference);
      }
    }
    RecordProperty("difference", std::to_string(1e6 * most) + "e-6");
  }

  ModelFolder folder_{GetParam().model};
};

// A token alone has its row on one rank; pieces after the first prompt are at most 256 tokens.
TEST_P(GenerateRanks, LogitsAreThoseOfOneRankFromOneTokenOn) {
  expect_logits_of_one_rank({1, 1, 5, 300, 1, 1});
}

TEST_P(GenerateRanks, LogitsAreThoseOfOneRankFromALongPromptOn) {
  expect_logits_of_one_rank({47, 1, 1, 1});
}

TEST_P(GenerateRanks, IdsDrawnAndWhereTheyEndAreThoseOfOneRank) {
  using Ids = std::vector<int32_t>;
  const auto& [layout, name, lora] = GetParam();
  const auto generate_up_to = [](size_t stop, std::vector<int64_t> ends) {
    return [=](const models::Model& model) {
      Ids seen;
      const GenerateOptions options{.max_new_tokens = 12, .eos_token_ids = ends};
      const Ids ids = generate(model, some_ids(7), options, [&](int32_t id) {
        seen.push_back(id);
        return seen.size() < stop;
      });
      EXPECT_EQ(ids, seen);
      return ids;
    };
  };
  const auto one = on_ranks_of<Ids>(folder_, {}, lora, generate_up_to(99, {})).front();
  ASSERT_EQ(one.size(), 12u);
  for (const Ids& ids : on_ranks_of<Ids>(folder_, layout, lora, generate_up_to(99, {})))
    EXPECT_EQ(ids, one);
  const Ids four(one.begin(), one.begin() + 4);
  for (const Ids& ids : on_ranks_of<Ids>(folder_, layout, lora, generate_up_to(4, {})))
    EXPECT_EQ(ids, four);
  const auto end = std::find(one.begin(), one.end(), one[5]);
  for (const Ids& ids : on_ranks_of<Ids>(folder_, layout, lora, generate_up_to(99, {one[5]})))
    EXPECT_EQ(ids, Ids(one.begin(), end + 1));
}

INSTANTIATE_TEST_SUITE_P(Layouts, GenerateRanks, testing::ValuesIn(all_cases()),
                         [](const auto& info) { return info.param.name(); });

}  // namespace
}  // namespace hone::trainer
