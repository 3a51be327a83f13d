#include "trainer/step.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/trainer/support.h"
#include "trainer/activations.h"
#include "trainer/schedule.h"

namespace hone::trainer {
namespace {

// A one-dimensional tensor of a golden file as numbers.
template <typename T>
std::vector<T> read_vector(const formats::SafetensorsFile& file, const std::string& name) {
  const auto* entry = file.find(name);
  if (entry == nullptr) throw std::runtime_error("no tensor " + name);
  const auto bytes = file.bytes(*entry);
  const auto convert = [&]<typename From>(From) {
    std::vector<From> values(bytes.size() / sizeof(From));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return std::vector<T>(values.begin(), values.end());
  };
  switch (entry->dtype) {
    case formats::Dtype::kI64:
      return convert(int64_t{});
    case formats::Dtype::kI32:
      return convert(int32_t{});
    case formats::Dtype::kF32:
      return convert(float{});
    case formats::Dtype::kF64:
      return convert(double{});
    default:
      throw std::runtime_error("dtype of " + name);
  }
}

int64_t count_trained(const std::vector<int32_t>& labels) {
  return std::ranges::count_if(labels, [](int32_t label) { return label != -100; });
}

// The 40 micro-batches of tests/golden/curves, two a step.
std::vector<data::MicroBatch> golden_micro_batches() {
  const auto file = formats::SafetensorsFile::open(golden("curves/batches.safetensors"));
  const auto num_tokens = read_vector<int64_t>(file, "num_tokens"),
             num_docs = read_vector<int64_t>(file, "num_docs");
  const auto ids = read_vector<int32_t>(file, "input_ids"),
             positions = read_vector<int32_t>(file, "position_ids");
  const auto labels = read_vector<int32_t>(file, "labels"),
             cu = read_vector<int32_t>(file, "cu_doc_lens");
  std::vector<data::MicroBatch> micro_batches;
  int64_t token = 0, boundary = 0;
  for (size_t i = 0; i < num_tokens.size(); ++i) {
    const auto cut = [](const auto& values, int64_t begin, int64_t count) {
      return std::vector<int32_t>(values.begin() + begin, values.begin() + begin + count);
    };
    data::MicroBatch mb{.input_ids = cut(ids, token, num_tokens[i]),
                        .position_ids = cut(positions, token, num_tokens[i]),
                        .labels = cut(labels, token, num_tokens[i]),
                        .cu_doc_lens = cut(cu, boundary, num_docs[i] + 1),
                        .sample_ids = {static_cast<int64_t>(i)}};
    mb.num_trained_tokens = count_trained(mb.labels);
    micro_batches.push_back(std::move(mb));
    token += num_tokens[i];
    boundary += num_docs[i] + 1;
  }
  return micro_batches;
}

StepResult run(models::Model& model, OptimizerState& optimizer,
               std::span<const data::MicroBatch> micro_batches, StepOptions options,
               bool recompute = false) {
  const auto actions = parallel::make_step(
      describe_stages(model), {}, 0,
      {.num_micro_batches = static_cast<int64_t>(micro_batches.size()), .recompute = recompute});
  return run_step(model, optimizer, actions, micro_batches, options);
}

void expect_curve(models::Model model, const std::string& name) {
  at::set_num_threads(1);
  const auto file = formats::SafetensorsFile::open(golden("curves/" + name + ".safetensors"));
  const auto loss = read_vector<double>(file, "loss_float64"),
             norm = read_vector<double>(file, "grad_norm_float64");
  const auto rates = read_vector<double>(file, "learning_rate");
  const auto micro_batches = golden_micro_batches();
  ASSERT_EQ(loss.size(), 20u);
  const LearningRate rate = make_learning_rate(
      {.type = ScheduleType::kCosine, .learning_rate = 1e-3, .warmup_steps = 3}, 20);
  OptimizerState optimizer = make_optimizer_state(model);
  for (int64_t step = 0; step < 20; ++step) {
    EXPECT_NEAR(rate.at(step), rates[step], 1e-9);
    StepOptions options{.step = step, .learning_rate = rate.at(step)};
    options.optimizer.weight_decay = 0.01;
    options.optimizer.decay_one_dimensional = true;
    const StepResult result =
        run(model, optimizer, std::span(micro_batches).subspan(2 * step, 2), options);
    const double mean = result.loss_sum / static_cast<double>(result.num_trained_tokens);
    EXPECT_NEAR(mean / loss[step], 1, 1e-4) << name << " step " << step;
    EXPECT_NEAR(result.grad_norm / norm[step], 1, 1e-3) << name << " step " << step;
  }
}

TEST(StepCurve, FullLlamaFollowsTransformersFor20Steps) {
  expect_curve(models::load_model(golden("models/llama"), {.train_base = true}), "llama_full");
}

TEST(StepCurve, FullQwen3FollowsTransformersFor20Steps) {
  expect_curve(models::load_model(golden("models/qwen3"), {.train_base = true}), "qwen3_full");
}

TEST(StepCurve, LoraLlamaFollowsPeftFor20Steps) {
  models::LoadOptions options;
  options.adapter_path = golden("models/llama/adapter");
  options.adapter = models::read_adapter_config(options.adapter_path);
  expect_curve(models::load_model(golden("models/llama"), options), "llama_lora");
}

class StepTest : public ::testing::Test {
 protected:
  StepTest() : cache_(tiny_data(cache_root_.path())) {}

  data::Loader loader(int64_t micro_batch_size, int64_t accumulation) const {
    return {cache_,
            {.micro_batch_size = micro_batch_size,
             .gradient_accumulation_steps = accumulation,
             .seed = 7}};
  }

  TempFolder cache_root_;
  data::TokenCache cache_;
};

double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{a[i]} * a[i];
  }
  return std::sqrt(difference / norm);
}

TEST_F(StepTest, AccumulationOneTwoFourGiveTheSameGradientLossAndNorm) {
  std::vector<StepResult> results;
  std::vector<std::vector<float>> gradients;
  for (const int64_t accumulation : {1, 2, 4}) {
    models::Model model = tiny_model(false);
    OptimizerState optimizer = make_optimizer_state(model);
    const auto micro_batches = micro_batches_of(loader(4 / accumulation, accumulation), 0);
    ASSERT_EQ(static_cast<int64_t>(micro_batches.size()), accumulation);
    results.push_back(run(model, optimizer, micro_batches, {.learning_rate = 1e-3}));
    gradients.push_back(all_values(model, &models::Stage::grads));
  }
  for (const size_t i : {1u, 2u}) {
    EXPECT_EQ(results[i].num_trained_tokens, results[0].num_trained_tokens);
    EXPECT_NEAR(results[i].loss_sum / results[0].loss_sum, 1, 1e-6);
    EXPECT_NEAR(results[i].grad_norm / results[0].grad_norm, 1, 1e-5);
    EXPECT_LT(relative_difference(gradients[0], gradients[i]), 1e-5);
  }
}

TEST_F(StepTest, RecomputeIsBitwiseTheSameFullAndLoraWithDropout) {
  for (const bool lora : {false, true}) {
    std::vector<std::vector<float>> weights;
    for (const bool recompute : {false, true}) {
      models::Model model = tiny_model(lora, 0.2);
      OptimizerState optimizer = make_optimizer_state(model);
      for (int64_t step = 0; step < 3; ++step) {
        run(model, optimizer, micro_batches_of(loader(2, 2), step),
            {.step = step, .learning_rate = 1e-2}, recompute);
      }
      weights.push_back(all_values(model, &models::Stage::trainable));
    }
    EXPECT_EQ(weights[0], weights[1]) << (lora ? "lora" : "full");
  }
}

TEST_F(StepTest, LossOfTheStepFallsWhenTheSameDataIsRepeated) {
  models::Model model = tiny_model(true);
  OptimizerState optimizer = make_optimizer_state(model);
  const auto micro_batches = micro_batches_of(loader(4, 1), 0);
  const double first = run(model, optimizer, micro_batches, {.learning_rate = 1e-2}).loss_sum;
  double last = first;
  for (int i = 0; i < 10; ++i)
    last = run(model, optimizer, micro_batches, {.learning_rate = 1e-2}).loss_sum;
  EXPECT_LT(last, 0.95 * first);
}

TEST_F(StepTest, ZeroLearningRateAndNoDecayLeaveWeightsAsTheyAre) {
  models::Model model = tiny_model(false);
  const auto before = all_values(model, &models::Stage::trainable);
  OptimizerState optimizer = make_optimizer_state(model);
  run(model, optimizer, micro_batches_of(loader(2, 1), 0), {});
  EXPECT_EQ(before, all_values(model, &models::Stage::trainable));
  EXPECT_EQ(optimizer.num_updates, 1);
}

TEST_F(StepTest, WeightDecaySparesNormsUnlessTold) {
  for (const bool decay_all : {false, true}) {
    models::Model model = tiny_model(false);
    OptimizerState optimizer = make_optimizer_state(model);
    std::map<std::string, at::Tensor> before;
    for (const auto& parameter : model.stages[1].parameters)
      before[parameter.name] = parameter.value.clone();
    for (models::Stage& stage : model.stages) stage.grads.zero_();
    OptimizerOptions options{.weight_decay = 0.5, .decay_one_dimensional = decay_all};
    update_parameters(model, optimizer, options, 0.1, 1.0);
    for (const auto& parameter : model.stages[1].parameters) {
      const bool decays = decay_all || parameter.shape.size() > 1;
      EXPECT_EQ(at::equal(parameter.value, before[parameter.name]), !decays) << parameter.name;
    }
  }
}

TEST_F(StepTest, NanWeightStopsBeforeTheUpdateNamingStepParameterAndSamples) {
  models::Model model = tiny_model(false);
  OptimizerState optimizer = make_optimizer_state(model);
  models::Parameter& bad = model.stages[2].parameters[1];
  bad.value.view(-1)[3] = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor before = model.stages[1].trainable.clone();
  const auto micro_batches = micro_batches_of(loader(2, 2), 5);
  expect_failure(
      [&] { run(model, optimizer, micro_batches, {.step = 5, .learning_rate = 1}); },
      core::ErrorKind::kNumerical,
      {"loss of step 6", bad.name, "samples " + std::to_string(micro_batches[0].sample_ids[0])});
  EXPECT_TRUE(at::equal(before, model.stages[1].trainable));
  EXPECT_EQ(optimizer.num_updates, 0);
}

TEST_F(StepTest, InfiniteGradientStopsBeforeTheUpdateNamingTheParameter) {
  models::Model model = tiny_model(false);
  OptimizerState optimizer = make_optimizer_state(model);
  const std::string name = model.stages[1].parameters[0].name;
  // A backward that overflows while the forward does not: the first trainable value of block 0.
  const auto forward = model.stages[1].forward;
  model.stages[1].forward = [&](const at::Tensor& x_TD, const models::Batch& batch,
                                const models::ForwardContext& context) {
    model.stages[1].grads.view(-1)[0] = std::numeric_limits<float>::infinity();
    return forward(x_TD, batch, context);
  };
  const at::Tensor before = model.stages[1].trainable.clone();
  expect_failure(
      [&] { run(model, optimizer, micro_batches_of(loader(2, 1), 0), {.learning_rate = 1}); },
      core::ErrorKind::kNumerical, {"gradient of step 1", "gradient of " + name, "samples "});
  EXPECT_TRUE(at::equal(before, model.stages[1].trainable));
}

TEST(Clipping, FactorIsThatOfTorchAndNeverRaises) {
  EXPECT_EQ(clip_factor(0.5, 1.0), 1.0);
  EXPECT_NEAR(clip_factor(4.0, 1.0), 1.0 / 4.000001, 1e-15);
  EXPECT_EQ(clip_factor(1e9, 0.0), 1.0);
}

TEST(TrainingContext, EveryMicroBatchOfARunHasItsOwnNumber) {
  EXPECT_NE(training_context(1, 0, 1).micro_step, training_context(1, 1, 0).micro_step);
  EXPECT_TRUE(training_context(1, 0, 0).training);
}

}  // namespace
}  // namespace hone::trainer
