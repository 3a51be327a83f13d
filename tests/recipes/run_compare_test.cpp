#include "recipes/run_compare.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/error.h"
#include "formats/safetensors.h"
#include "tests/support/process.h"

namespace hone::recipes {
namespace {

using test::TemporaryFolder;
using test::write_text;

const char* kRows =
    "{\"step\":0,\"eval_loss\":5.5}\n"
    "{\"step\":1,\"loss\":5.0,\"grad_norm\":1.5,\"tokens_per_second\":100.0}\n"
    "{\"step\":2,\"loss\":4.0,\"grad_norm\":1.25,\"tokens_per_second\":90.0}\n"
    "{\"step\":2,\"eval_loss\":4.5}\n";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

class CompareRows : public testing::Test {
 protected:
  TemporaryFolder a_, b_;
  RowsComparison compare(const std::string& second, int64_t last_step = 2) {
    write_text(a_ / "metrics.jsonl", kRows);
    write_text(b_ / "metrics.jsonl", second);
    return compare_rows(a_.path(), b_.path(), "metrics.jsonl", last_step);
  }
};

TEST_F(CompareRows, SpeedIsNoResult) {
  const RowsComparison rows = compare(replaced(kRows, "100.0", "33.0"));
  EXPECT_FALSE(rows.difference) << rows.difference->where;
  EXPECT_EQ(rows.num_rows, 4);
}

// A run on several ranks, compared with itself done again or on one.
TEST_F(CompareRows, WhatCommunicationCostIsNoResult) {
  const std::string ranks =
      ",\"comm_bytes\":8,\"exposed_comm_seconds\":0.5,"
      "\"communication\":{\"tp\":{\"bytes\":8,\"exposed_seconds\":0.5}}}\n";
  const RowsComparison rows = compare(replaced(kRows, "90.0}\n", "90.0" + ranks));
  EXPECT_FALSE(rows.difference) << rows.difference->where;
}

TEST_F(CompareRows, TheLastDigitOfALossIsADifferenceWithItsPlaceAndBothValues) {
  const RowsComparison rows = compare(replaced(kRows, "4.0,", "4.000000000000001,"));
  ASSERT_TRUE(rows.difference);
  EXPECT_EQ(rows.difference->where, "metrics.jsonl, step 2, loss");
  EXPECT_EQ(rows.difference->first, "4.0");
  EXPECT_EQ(rows.difference->second, "4.000000000000001");
}

TEST_F(CompareRows, EvaluationsAreTold) {
  const RowsComparison rows = compare(replaced(kRows, "4.5", "4.25"));
  ASSERT_TRUE(rows.difference);
  EXPECT_EQ(rows.difference->where, "metrics.jsonl, step 2 (evaluation), eval_loss");
}

TEST_F(CompareRows, AMissingRowAndAMissingKeyAreDifferences) {
  RowsComparison rows = compare(replaced(kRows, "{\"step\":2,\"eval_loss\":4.5}\n", ""));
  ASSERT_TRUE(rows.difference);
  EXPECT_EQ(rows.difference->second, "(absent)");
  rows = compare(replaced(kRows, "\"grad_norm\":1.5,", ""));
  ASSERT_TRUE(rows.difference);
  EXPECT_EQ(rows.difference->where, "metrics.jsonl, step 1, grad_norm");
}

TEST_F(CompareRows, ARunOfFewerStepsIsComparedAsFarAsItGoes) {
  const std::string shorter =
      "{\"step\":0,\"eval_loss\":5.5}\n"
      "{\"step\":1,\"loss\":5.0,\"grad_norm\":1.5,\"tokens_per_second\":1.0}\n"
      "{\"step\":1,\"eval_loss\":5.25}\n";
  EXPECT_FALSE(compare(shorter, 1).difference);
  EXPECT_EQ(compare(shorter, 1).num_rows, 2);
  EXPECT_TRUE(compare(shorter, 2).difference);
}

void write_weights(const std::filesystem::path& folder, const std::vector<float>& a,
                   bool with_b = true) {
  std::vector<formats::TensorSpec> specs = {
      {"a", formats::Dtype::kF32, {static_cast<int64_t>(a.size())}}};
  if (with_b) specs.push_back({"b", formats::Dtype::kBF16, {2}});
  formats::SafetensorsWriter writer(folder / "model.safetensors", formats::plan_safetensors(specs));
  writer.write("a", std::as_bytes(std::span(a)));
  const uint16_t b[2] = {0x3F80, 0x4000};
  if (with_b) writer.write("b", std::as_bytes(std::span(b)));
  writer.commit();
}

TEST(CompareWeights, EqualFoldersAreEqualWhateverElseTheyHold) {
  TemporaryFolder a, b;
  write_weights(a.path(), {1, 2, 3});
  write_weights(b.path(), {1, 2, 3});
  write_text(b / "notes.txt", "x");
  const WeightsComparison weights = compare_weights(a.path(), b.path());
  EXPECT_EQ(weights.num_tensors, 2);
  EXPECT_EQ(weights.num_different, 0);
  EXPECT_FALSE(weights.difference);
  EXPECT_EQ(weights.sha256.size(), 64U);
}

TEST(CompareWeights, TheFirstElementThatDiffersAndTheLargestDifferenceAreNamed) {
  TemporaryFolder a, b;
  write_weights(a.path(), {1, 2, 3, 4});
  write_weights(b.path(), {1, 2.5, 3, -4});
  const WeightsComparison weights = compare_weights(a.path(), b.path());
  ASSERT_TRUE(weights.difference);
  EXPECT_EQ(weights.difference->where, "model.safetensors, tensor \"a\", element 1");
  EXPECT_EQ(weights.difference->first, "2.0");
  EXPECT_EQ(weights.difference->second, "2.5");
  EXPECT_EQ(weights.num_different, 1);
  EXPECT_EQ(weights.largest_tensor, "a");
  EXPECT_EQ(weights.largest_difference, 8);
}

TEST(CompareWeights, MissingAndReshapedTensorsAreDifferences) {
  TemporaryFolder a, b;
  write_weights(a.path(), {1, 2, 3});
  write_weights(b.path(), {1, 2, 3}, false);
  EXPECT_EQ(compare_weights(a.path(), b.path()).difference->second, "(absent)");
  EXPECT_EQ(compare_weights(b.path(), a.path()).difference->first, "(absent)");
  write_weights(b.path(), {1, 2, 3, 4});
  EXPECT_EQ(compare_weights(a.path(), b.path()).difference->second, "F32 [4]");
  TemporaryFolder empty;
  EXPECT_THROW(compare_weights(empty.path(), a.path()), core::Error);
}

}  // namespace
}  // namespace hone::recipes
