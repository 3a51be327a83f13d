#include "trainer/invariance.h"

#include <ATen/ATen.h>

#include "tests/trainer/support.h"
#include "trainer/regroup.h"

namespace hone::trainer {
namespace {

using data::MicroBatch;

constexpr double kBound = 2e-5;
constexpr int64_t kLength = 64;

class Invariance : public testing::Test {
 protected:
  TempFolder cache_;
  const data::Loader loader_{
      tiny_data(cache_.path()),
      {.packing = true, .max_length = kLength, .gradient_accumulation_steps = 3}};
  const std::vector<MicroBatch> first_ = micro_batches_of(loader_, 0);

  std::vector<std::vector<StepVariant>> steps() const {
    return {standard_variants(first_, kLength, 0, kBound),
            standard_variants(micro_batches_of(loader_, 1), kLength, 0, kBound)};
  }
};

const InvarianceOptions kOptions{.learning_rate = 1e-2};

TEST_F(Invariance, GroupingPaddingAndRecomputeLeaveLossAndGradients) {
  for (const bool lora : {false, true}) {
    models::Model model = tiny_model(lora);
    const auto differences = compare_variants(model, steps(), kOptions);
    ASSERT_EQ(differences.size(), 4U);
    for (const VariantDifference& d : differences)
      EXPECT_TRUE(d.holds()) << d.name << ": " << d.loss << ", " << d.gradient << " in "
                             << d.tensor;
    EXPECT_EQ(differences.back().gradient, 0) << "recompute is bitwise";
    EXPECT_GT(differences.front().gradient, 0) << "sums in another order round differently";
  }
}

TEST_F(Invariance, SecondStepIsNotTheFirstOneAgain) {
  // B of a fresh adapter is zero, and so is the gradient of A until an update was made.
  models::Model model = tiny_model(true);
  const std::vector<float> before = all_values(model, &models::Stage::trainable);
  compare_variants(model, steps(), kOptions);
  EXPECT_NE(all_values(model, &models::Stage::trainable), before);
  double a_gradient = 0;
  for (const models::Stage& stage : model.stages) {
    for (const models::Parameter& p : stage.parameters) {
      if (p.grad.defined() && p.name.find("lora_A") != std::string::npos)
        a_gradient += p.grad.abs().sum().item<double>();
    }
  }
  EXPECT_GT(a_gradient, 0);
}

TEST_F(Invariance, AChangedLabelIsFoundAndItsTensorNamed) {
  models::Model model = tiny_model(false);
  std::vector<StepVariant> variants = {{.name = "a", .micro_batches = first_},
                                       {.name = "b", .micro_batches = first_, .bound = kBound}};
  for (int32_t& label : variants[1].micro_batches[0].labels) {
    if (label == -100) continue;
    label = (label + 1) % 512;
    break;
  }
  const auto differences = compare_variants(model, {variants}, kOptions);
  ASSERT_EQ(differences.size(), 1U);
  EXPECT_FALSE(differences[0].holds());
  EXPECT_GT(differences[0].loss, kBound);
  EXPECT_GT(differences[0].gradient, kBound);
  EXPECT_FALSE(differences[0].tensor.empty());
}

TEST_F(Invariance, AVariantIsComparedWithTheOneItNames) {
  models::Model model = tiny_model(false);
  std::vector<MicroBatch> other = micro_batches_of(loader_, 1);
  const auto differences =
      compare_variants(model,
                       {{{.name = "a", .micro_batches = first_},
                         {.name = "other data", .micro_batches = other, .bound = kBound},
                         {.name = "other again", .micro_batches = other, .against = 1}}},
                       kOptions);
  EXPECT_FALSE(differences[0].holds());
  EXPECT_TRUE(differences[1].holds());
  EXPECT_EQ(differences[1].against, "other data");
}

TEST_F(Invariance, MergedAndSplitMicroBatchesHoldTheSameDocuments) {
  const MicroBatch merged = merge_micro_batches(first_);
  const std::vector<MicroBatch> documents = split_documents(first_);
  ASSERT_GT(documents.size(), first_.size()) << "nothing is packed";
  const MicroBatch again = merge_micro_batches(documents);
  EXPECT_EQ(again.input_ids, merged.input_ids);
  EXPECT_EQ(again.position_ids, merged.position_ids);
  EXPECT_EQ(again.labels, merged.labels);
  EXPECT_EQ(again.cu_doc_lens, merged.cu_doc_lens);
  EXPECT_EQ(again.sample_ids, merged.sample_ids);
  int64_t trained = 0;
  for (const MicroBatch& micro_batch : first_) trained += micro_batch.num_trained_tokens;
  EXPECT_EQ(merged.num_trained_tokens, trained);
  for (const MicroBatch& document : documents) EXPECT_EQ(document.position_ids.front(), 0);
}

TEST_F(Invariance, PaddingFollowsTheDocumentAndIsNotTrained) {
  const MicroBatch document = split_documents(first_).front();
  const MicroBatch padded = pad_document(document, kLength, 3);
  ASSERT_EQ(padded.input_ids.size(), static_cast<size_t>(kLength));
  EXPECT_EQ(padded.cu_doc_lens, (std::vector<int32_t>{0, kLength}));
  EXPECT_EQ(padded.num_trained_tokens, document.num_trained_tokens);
  for (size_t i = document.input_ids.size(); i < padded.input_ids.size(); ++i) {
    EXPECT_EQ(padded.input_ids[i], 3);
    EXPECT_EQ(padded.labels[i], -100);
    EXPECT_EQ(padded.position_ids[i], static_cast<int32_t>(i));
  }
  expect_failure([&] { pad_document(merge_micro_batches(first_), kLength, 0); },
                 core::ErrorKind::kInternal);
}

}  // namespace
}  // namespace hone::trainer
