#include "trainer/prove.h"

#include <cmath>
#include <limits>

#include "data/token_cache.h"
#include "tests/support/model_run.h"
#include "tests/trainer/support.h"

namespace hone::trainer {
namespace {

const ProofRows kRows{.source = "rows", .documents = {{3, 1, 4, 1, 5, 9}, {2, 6}, {53, 58, 97}}};

models::Model llama(const fs::path& adapter = {}) {
  return models::load_model(models::golden_model("llama"), {.adapter_path = adapter});
}

TEST(Prove, AModelIsProvedToBeItself) {
  const models::Model model = llama();
  const Proof proof = compare_with(proof_logits(model, kRows), llama(), kRows, 0);
  EXPECT_EQ(proof.kl, 0);
  EXPECT_EQ(proof.max_difference, 0);
  EXPECT_EQ(proof.top1, 1);
  EXPECT_EQ(proof.model_loss, proof.artefact_loss);
  EXPECT_EQ(proof.num_tokens, 11);
  EXPECT_EQ(proof.num_rows, 3);
  EXPECT_TRUE(proof.holds());
}

// Every number again, straight from its definition.
TEST(Prove, NumbersOfAnotherModelAreThoseOfTheirDefinitions) {
  const models::Model model = llama();
  const models::Model other = llama(models::golden_model("llama/adapter"));
  const ProofLogits x = proof_logits(model, kRows), y = proof_logits(other, kRows);
  double largest = 0, squares = 0, kl = 0, loss = 0, other_loss = 0, same = 0;
  int64_t num_logits = 0, num_tokens = 0, num_targets = 0;
  for (size_t row = 0; row < kRows.documents.size(); ++row) {
    const std::vector<int32_t>& ids = kRows.documents[row];
    for (size_t t = 0; t < ids.size(); ++t, ++num_tokens) {
      const float* a = x[row][static_cast<int64_t>(t)].const_data_ptr<float>();
      const float* b = y[row][static_cast<int64_t>(t)].const_data_ptr<float>();
      const int64_t size = x[row].size(1);
      double sum_a = 0, sum_b = 0;
      for (int64_t v = 0; v < size; ++v) {
        sum_a += std::exp(double{a[v]});
        sum_b += std::exp(double{b[v]});
        largest = std::max(largest, std::abs(double{b[v]} - a[v]));
        squares += (double{b[v]} - a[v]) * (double{b[v]} - a[v]);
        ++num_logits;
      }
      for (int64_t v = 0; v < size; ++v) {
        const double p = a[v] - std::log(sum_a), q = b[v] - std::log(sum_b);
        kl += std::exp(p) * (p - q);
      }
      same += std::max_element(a, a + size) - a == std::max_element(b, b + size) - b;
      if (t + 1 == ids.size()) continue;
      loss -= a[ids[t + 1]] - std::log(sum_a);
      other_loss -= b[ids[t + 1]] - std::log(sum_b);
      ++num_targets;
    }
  }
  const Proof proof = compare_with(x, other, kRows, 1e-9);
  EXPECT_NEAR(proof.max_difference, largest, 1e-12);
  EXPECT_NEAR(proof.rms_difference, std::sqrt(squares / static_cast<double>(num_logits)), 1e-12);
  EXPECT_NEAR(proof.kl, kl / static_cast<double>(num_tokens), 1e-12);
  EXPECT_NEAR(proof.top1, same / static_cast<double>(num_tokens), 1e-12);
  EXPECT_NEAR(proof.model_loss, loss / static_cast<double>(num_targets), 1e-12);
  EXPECT_NEAR(proof.artefact_loss, other_loss / static_cast<double>(num_targets), 1e-12);
  EXPECT_GT(proof.kl, 1e-6);
  EXPECT_FALSE(proof.holds());
  expect_failure([&] { require_proof(proof, "out/model.gguf"); }, core::ErrorKind::kNumerical,
                 {"out/model.gguf", "KL", "1e-09"});
}

TEST(Prove, ADivergenceThatIsNoNumberDoesNotHold) {
  Proof proof{.max_kl = 1};
  EXPECT_TRUE(proof.holds());
  proof.kl = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(proof.holds());
}

TEST(Prove, RowsAreSpreadOverTheDataAndCut) {
  const TempFolder folder;
  data::TokenCacheWriter writer(folder / "cache", "key");
  constexpr int kNumRows = 41;
  for (int32_t row = 0; row < kNumRows; ++row) {
    const std::vector<int32_t> ids(row == 10 ? 1 : 300, row);
    writer.append({ids, std::vector<uint8_t>(ids.size(), 1)});
  }
  constexpr int64_t kNumTokens = 40 * 300 + 1;
  writer.finish({.num_rows = kNumRows, .num_tokens = kNumTokens, .num_trained_tokens = kNumTokens});
  const ProofRows rows = proof_rows(data::TokenCache::open(folder / "cache"), "rows");
  std::vector<int32_t> firsts;
  for (const auto& ids : rows.documents) {
    firsts.push_back(ids.front());
    EXPECT_EQ(static_cast<int64_t>(ids.size()), kMaxProofTokens);
  }
  EXPECT_EQ(firsts, (std::vector<int32_t>{0, 20, 30, 40}));  // row 10 has nothing to predict
}

TEST(Prove, NoRowsAreNoProof) {
  const models::Model model = llama();
  expect_failure([&] { compare_with({}, model, {.source = "none", .documents = {}}, 1); },
                 core::ErrorKind::kBadInput, {"no rows"});
}

}  // namespace
}  // namespace hone::trainer
