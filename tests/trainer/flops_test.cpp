#include "trainer/flops.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/trainer/support.h"
#include "trainer/throughput.h"

namespace hone::trainer {
namespace {

data::MicroBatch micro_batch(std::vector<int32_t> cu_doc_lens, int64_t num_trained) {
  data::MicroBatch batch;
  batch.input_ids.resize(static_cast<size_t>(cu_doc_lens.back()));
  batch.cu_doc_lens = std::move(cu_doc_lens);
  batch.num_trained_tokens = num_trained;
  return batch;
}

// Elements of q, k, v, o, gate, up and down of one layer.
int64_t layer_weights(const models::ModelSpec& s) {
  const int64_t q = s.num_heads * s.head_dim, kv = s.num_kv_heads * s.head_dim;
  return s.hidden_size * (2 * q + 2 * kv) + 3 * s.hidden_size * s.intermediate_size;
}

TEST(Flops, FullFineTuningIsSixPerWeightAndTokenAndTwelvePerPairOfAHeadElement) {
  const models::Model model = tiny_model(false);
  const models::ModelSpec& s = model.spec;
  const FlopCounts counts = count_flops(model);
  EXPECT_EQ(counts.blocks.trained, s.num_layers() * layer_weights(s));
  EXPECT_EQ(counts.head.trained, s.vocab_size * s.hidden_size);
  const std::vector<data::MicroBatch> batches{micro_batch({0, 3, 8}, 4), micro_batch({0, 2}, 1)};
  const StepFlops flops = flops_of(counts, batches);
  EXPECT_EQ(flops.blocks, 6.0 * 10 * static_cast<double>(counts.blocks.trained));
  EXPECT_EQ(flops.head, 6.0 * 5 * static_cast<double>(counts.head.trained));
  const double pairs = 3 * 4 / 2 + 5 * 6 / 2 + 2 * 3 / 2;
  EXPECT_EQ(flops.attention,
            12.0 * pairs * static_cast<double>(s.num_layers() * s.num_heads * s.head_dim));
}

TEST(Flops, FrozenWeightsUnderAnAdapterAreFourAndTheAdapterItselfSix) {
  const models::Model model = tiny_model(true);
  const FlopCounts counts = count_flops(model);
  EXPECT_EQ(counts.blocks.frozen, model.spec.num_layers() * layer_weights(model.spec));
  EXPECT_EQ(counts.blocks.trained, models::num_trainable(model));
  EXPECT_EQ(counts.head.frozen, model.spec.vocab_size * model.spec.hidden_size);
  EXPECT_EQ(counts.head.trained, 0);
  EXPECT_EQ(counts.blocks.flops(), 4.0 * static_cast<double>(counts.blocks.frozen) +
                                       6.0 * static_cast<double>(counts.blocks.trained));
}

TEST(Flops, LayersBelowTheLowestTrainedOneHaveNoBackward) {
  at::set_num_threads(1);
  models::LoadOptions options{.train_base = false};
  options.adapter.r = 4;
  options.adapter.target_modules = {"model.layers.1.mlp.down_proj"};
  const models::Model model = models::load_model(golden("tiny-chat"), options);
  const FlopCounts counts = count_flops(model);
  EXPECT_EQ(counts.blocks.frozen_below, layer_weights(model.spec));
  EXPECT_EQ(counts.blocks.frozen, layer_weights(model.spec));
  ASSERT_EQ(counts.attention.size(), 1u);
  const double per_layer = static_cast<double>(model.spec.num_heads * model.spec.head_dim);
  EXPECT_EQ(counts.attention[0].flops_per_pair, (4.0 + 12.0) * per_layer);
}

TEST(Throughput, ShareIsWorkOverTimeOverTheMeasuredRate) {
  const models::Model model = tiny_model(false);
  const FlopCounts counts = count_flops(model);
  const std::vector<data::MicroBatch> batches{micro_batch({0, 10}, 10)};
  const double flops = flops_of(counts, batches).total();
  Throughput throughput(counts, 4 * flops);
  const auto add = [&](double seconds) {
    throughput.add_step(10, 10, throughput.flops_of(batches), seconds);
  };
  add(0.5);
  EXPECT_DOUBLE_EQ(throughput.share(throughput.row()), 0.5);
  throughput.end_row();
  add(0.25);
  EXPECT_DOUBLE_EQ(throughput.share(throughput.row()), 1.0);
  EXPECT_DOUBLE_EQ(throughput.row().tokens_per_second(), 40);
  const core::Json json = throughput.json();
  EXPECT_DOUBLE_EQ(json.at("flops_share"), 2 / 0.75 / 4);
  EXPECT_DOUBLE_EQ(json.at("flops_per_token").get<double>(), flops / 10);
  EXPECT_EQ(json.at("tokens"), 20);
}

TEST(Throughput, MeasuredRateIsOneAMachineCanHave) {
  at::set_num_threads(1);
  const double rate = measure_gemm_rate(at::kFloat, at::kCPU);
  EXPECT_GT(rate, 1e8);
  EXPECT_LT(rate, 1e14);
}

}  // namespace
}  // namespace hone::trainer
