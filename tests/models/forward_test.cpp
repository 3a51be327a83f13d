#include <gtest/gtest.h>

#include "tests/support/model_failure.h"
#include "tests/support/model_run.h"

namespace hone::models {
namespace {

const std::vector<int32_t> kFirst = {5, 9, 13, 2, 77, 41, 8, 19, 23, 31, 3, 50};
const std::vector<int32_t> kSecond = {11, 4, 90, 6, 7};

Model load_full(const std::string& name) {
  return load_model(golden_model(name), {.train_base = true});
}

Model load_adapter(const std::string& name, double dropout) {
  LoadOptions options;
  options.adapter.r = 4;
  options.adapter.lora_dropout = dropout;
  return load_model(golden_model(name), options);
}

Batch packed_batch(const Model& model) {
  std::vector<int32_t> ids = kFirst, positions, labels, cu_doc_lens = {0};
  ids.insert(ids.end(), kSecond.begin(), kSecond.end());
  for (const auto* document : {&kFirst, &kSecond}) {
    for (size_t i = 0; i < document->size(); ++i) {
      positions.push_back(static_cast<int32_t>(i));
      labels.push_back(i + 1 < document->size() ? (*document)[i + 1] : -100);
    }
    cu_doc_lens.push_back(static_cast<int32_t>(positions.size()));
  }
  return make_batch(model, ids, positions, labels, cu_doc_lens);
}

std::vector<at::Tensor> gradients(const Model& model) {
  std::vector<at::Tensor> result;
  for (const Stage& stage : model.stages) result.push_back(stage.grads.clone());
  return result;
}

// B matrices that are zero would hide everything A and dropout do.
void fill_lora_b(Model& model) {
  for (Stage& stage : model.stages) {
    for (Parameter& parameter : stage.parameters) {
      if (!parameter.name.ends_with("lora_B.weight")) continue;
      parameter.value.copy_(at::arange(parameter.value.numel(), at::kFloat)
                                .sin()
                                .mul(0.1)
                                .view(parameter.value.sizes()));
    }
  }
}

TEST(Forward, PackedDocumentsEqualSeparateOnes) {
  for (const std::string name : {"llama", "mistral", "qwen2_window", "qwen3"}) {
    Model model = load_full(name);
    const at::Tensor packed = all_logits(model, packed_batch(model));
    const at::Tensor first = all_logits(model, document_batch(model, kFirst));
    const at::Tensor second = all_logits(model, document_batch(model, kSecond));
    EXPECT_LT(max_difference(packed, at::cat({first, second})), 2e-5) << name;

    const double packed_loss = run_step(model, packed_batch(model), 1.0);
    const std::vector<at::Tensor> packed_grads = gradients(model);
    double loss = run_step(model, document_batch(model, kFirst), 1.0);
    const std::vector<at::Tensor> first_grads = gradients(model);
    loss += run_step(model, document_batch(model, kSecond), 1.0);
    EXPECT_NEAR(packed_loss, loss, 1e-5 * loss) << name;
    for (size_t i = 0; i < packed_grads.size(); ++i) {
      EXPECT_LT(relative_difference(packed_grads[i], first_grads[i] + model.stages[i].grads), 2e-5)
          << name << " stage " << i;
    }
  }
}

TEST(Forward, RunAgainItGivesTheSameBits) {
  for (const std::string name : {"llama", "mistral", "qwen3"}) {
    Model model = load_adapter(name, 0.3);
    fill_lora_b(model);
    const Batch batch = packed_batch(model);
    const ForwardContext context{.training = true, .seed = 7, .micro_step = 3};
    EXPECT_TRUE(at::equal(run_forward(model, batch, context), run_forward(model, batch, context)));
    run_step(model, batch, 1.0, context);
    const std::vector<at::Tensor> before = gradients(model);
    run_step(model, batch, 1.0, context);
    for (size_t i = 0; i < before.size(); ++i) {
      EXPECT_TRUE(at::equal(before[i], model.stages[i].grads)) << name << " stage " << i;
    }
  }
}

TEST(Forward, RecomputedWithoutGradientItGivesTheSameBits) {
  const Model model = load_full("qwen2");
  const Batch batch = packed_batch(model);
  const at::Tensor x = model.stages[0].forward({}, batch, {}).detach();
  at::Tensor without;
  {
    const at::NoGradGuard no_grad;
    without = model.stages[1].forward(x, batch, {});
  }
  const at::AutoGradMode grad_mode(true);
  const at::Tensor with = model.stages[1].forward(x.clone().requires_grad_(true), batch, {});
  EXPECT_TRUE(with.requires_grad());
  EXPECT_TRUE(at::equal(with, without));
}

TEST(Forward, DropoutDependsOnSeedAndMicroStepAndIsOffOutsideTraining) {
  Model model = load_adapter("llama", 0.5);
  fill_lora_b(model);
  const Batch batch = packed_batch(model);
  const auto run = [&](bool training, uint64_t seed, uint64_t step) {
    return run_forward(model, batch, {.training = training, .seed = seed, .micro_step = step});
  };
  const at::Tensor reference = run(true, 1, 1);
  EXPECT_TRUE(at::equal(reference, run(true, 1, 1)));
  EXPECT_FALSE(at::equal(reference, run(true, 2, 1)));
  EXPECT_FALSE(at::equal(reference, run(true, 1, 2)));
  EXPECT_TRUE(at::equal(run(false, 1, 1), run(false, 2, 9)));
  EXPECT_FALSE(at::equal(reference, run(false, 1, 1)));
}

TEST(Forward, GradientsAddUpOverMicroBatches) {
  Model model = load_full("llama");
  const Batch batch = packed_batch(model);
  run_step(model, batch, 1.0);
  const std::vector<at::Tensor> once = gradients(model);
  // A second pass of the head and embedding stages adds, it does not replace.
  const at::Tensor x = run_forward(model, batch);
  model.head(x, batch, 1.0, true, {.training = true});
  EXPECT_GT(relative_difference(model.stages.back().grads, once.back()), 0.5);
  EXPECT_LT(relative_difference(model.stages.back().grads, once.back() * 2), 1e-5);
}

TEST(Forward, ATiedHeadAddsItsGradientToTheEmbedding) {
  Model model = load_full("llama");
  const Batch batch = packed_batch(model);
  model.head(run_forward(model, batch), batch, 1.0, true, {.training = true});
  EXPECT_EQ(model.stages.front().parameters.front().name, "model.embed_tokens.weight");
  EXPECT_GT(model.stages.front().grads.abs().sum().item<double>(), 0);
}

TEST(Forward, LogitsOfRowsAreRowsOfTheLogits) {
  const Model model = load_full("qwen3");
  const at::Tensor x = run_forward(model, packed_batch(model));
  const at::Tensor rows = at::tensor({3, 0, 11}, at::kLong);
  EXPECT_LT(max_difference(model.logits(x, rows), model.logits(x, {}).index_select(0, rows)), 1e-5);
}

TEST(Forward, EvaluationLeavesGradientsAlone) {
  Model model = load_full("llama");
  const Batch batch = packed_batch(model);
  const kernels::HeadLoss loss = model.head(run_forward(model, batch), batch, 1.0, false, {});
  EXPECT_GT(loss.loss_sum, 0);
  EXPECT_FALSE(loss.grad_x_TD.defined());
  for (const Stage& stage : model.stages) EXPECT_EQ(stage.grads.count_nonzero().item<int64_t>(), 0);
}

TEST(Forward, MastersReachTheComputeCopiesOnRefresh) {
  Model model =
      load_model(golden_model("llama"), {.compute_dtype = at::kBFloat16, .train_base = true});
  const Batch batch = packed_batch(model);
  const at::Tensor before = all_logits(model, batch);
  for (Stage& stage : model.stages) stage.trainable.mul_(1.5);
  EXPECT_TRUE(at::equal(before, all_logits(model, batch)));
  refresh_compute_weights(model);
  EXPECT_FALSE(at::equal(before, all_logits(model, batch)));
}

TEST(MakeBatch, RefusesIdsOutsideTheVocabulary) {
  const Model model = load_full("llama");
  expect_failure(
      [&] {
        document_batch(model, {1, 160});
      },
      core::ErrorKind::kBadInput, {"160", "0 to 159"});
  expect_failure([&] { document_batch(model, {1, -2}); }, core::ErrorKind::kBadInput, {"-2"});
}

}  // namespace
}  // namespace hone::models
