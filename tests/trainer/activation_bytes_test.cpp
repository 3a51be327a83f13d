// The bytes that a step's activations take against those that are counted from its actions.
#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <vector>

#include "models/spec/model_spec.h"
#include "parallel/comm/threads.h"
#include "tests/support/tensor_bytes.h"
#include "tests/trainer/ranks_model.h"
#include "trainer/rank_bytes.h"
#include "trainer/step.h"

namespace hone::trainer {
namespace {

constexpr double kBound = 0.1;
constexpr int64_t kTokens = 2048;  // beside which the scratch of kernels is small

struct BytesCase {
  parallel::Layout layout;
  bool lora = false, recompute = false;
  int64_t micro_batches = 1;
  std::string model = "made/eight";

  std::string name() const {
    const std::string sizes = "tp" + std::to_string(layout.tp) + "_cp" + std::to_string(layout.cp) +
                              "_pp" + std::to_string(layout.pp) + "_shard" +
                              std::to_string(layout.dp_shard);
    return sizes + (lora ? "_lora" : "_full") + (recompute ? "_recompute" : "") + "_" +
           model.substr(5) + "_" + std::to_string(micro_batches);
  }
};

void PrintTo(const BytesCase& wanted, std::ostream* out) { *out << wanted.name(); }

struct Bytes {
  int64_t measured = 0, counted = 0;
};

// Of a rank, in its second step: memory that stays is there after the first.
Bytes bytes_of(parallel::Communicator& world, const BytesCase& wanted, const ModelFolder& folder) {
  test::TensorBytes tensor_bytes;
  parallel::Mesh mesh = parallel::make_mesh(world, wanted.layout);
  models::Model model = folder.load(mesh, wanted.lora, /*train_base=*/!wanted.lora);
  share_parameters(model, mesh);
  OptimizerState optimizer = make_optimizer_state(model);
  const int64_t count = wanted.micro_batches * mesh.layout.data_parallel_size();
  const auto actions = parallel::make_step(describe_stages(model), mesh.layout, mesh.rank,
                                           {.num_micro_batches = count,
                                            .recompute = wanted.recompute,
                                            .shard_level = model.sharding.level,
                                            .pipeline = model.sharding.pipeline});
  const std::vector<data::MicroBatch> own(static_cast<size_t>(wanted.micro_batches),
                                          one_document(kTokens, model.spec.vocab_size));
  for (int64_t step = 0; step < 2; ++step) {
    tensor_bytes.restart();
    run_step(model, optimizer, actions, own,
             {.step = step,
              .mesh = &mesh,
              .num_micro_batches = count,
              .num_trained_tokens = count * (kTokens - 1)});
  }
  return {tensor_bytes.peak(), activation_bytes(model, mesh, actions, kTokens)};
}

class ActivationBytes : public testing::TestWithParam<BytesCase> {};

TEST_P(ActivationBytes, AreThoseThatTheStepScheduleCounts) {
  const BytesCase& wanted = GetParam();
  const ModelFolder folder(wanted.model);
  std::vector<Bytes> ranks(static_cast<size_t>(wanted.layout.num_ranks()));
  parallel::run_ranks(static_cast<int>(wanted.layout.num_ranks()),
                      [&](parallel::Communicator& world) {
                        ranks[static_cast<size_t>(world.rank())] = bytes_of(world, wanted, folder);
                      });
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const auto [measured, counted] = ranks[rank];
    ASSERT_GT(measured, 0);
    RecordProperty("rank" + std::to_string(rank),
                   std::to_string(counted) + " counted, " + std::to_string(measured) + " measured");
    EXPECT_NEAR(static_cast<double>(counted) / static_cast<double>(measured), 1, kBound)
        << "rank " << rank << ": " << counted << " counted, " << measured << " measured";
  }
}

std::vector<BytesCase> cases() {
  std::vector<BytesCase> all;
  for (const bool lora : {false, true}) {
    for (const bool recompute : {false, true}) {
      for (const parallel::Layout& layout :
           {parallel::Layout{}, {.tp = 2}, {.cp = 2}, {.cp = 2, .tp = 2}, {.dp_shard = 2}})
        all.push_back({.layout = layout, .lora = lora, .recompute = recompute});
      all.push_back(
          {.layout = {.pp = 2}, .lora = lora, .recompute = recompute, .micro_batches = 4});
      all.push_back({.layout = {.tp = 3},
                     .lora = lora,
                     .recompute = recompute,
                     .micro_batches = 2,
                     .model = "made/nine_tied"});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Layouts, ActivationBytes, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name(); });

}  // namespace
}  // namespace hone::trainer
