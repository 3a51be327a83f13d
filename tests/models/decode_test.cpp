#include "models/decode.h"

#include <gtest/gtest.h>

#include "tests/support/model_failure.h"
#include "tests/support/model_run.h"

namespace hone::models {
namespace {

std::vector<int32_t> some_ids(int32_t count) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < count; ++i) ids.push_back((i * 37 + 11) % 150);
  return ids;
}

class Decode : public ::testing::TestWithParam<std::string> {};

TEST_P(Decode, CachedLogitsEqualTheFullForwardsOneTokenAtATime) {
  const Model model = load_model(golden_model(GetParam()), {});
  const std::vector<int32_t> ids = some_ids(40);
  const at::Tensor full = all_logits(model, document_batch(model, ids));
  const auto cache = make_kv_cache(model, 64);
  const std::span<const int32_t> all(ids);
  EXPECT_LT(max_difference(decode_step(model, all.first(13), *cache), full[12]), 1e-4);
  for (size_t i = 13; i < ids.size(); ++i) {
    const at::Tensor logits = decode_step(model, all.subspan(i, 1), *cache);
    EXPECT_EQ(logits.scalar_type(), at::kFloat);
    EXPECT_LT(max_difference(logits, full[static_cast<int64_t>(i)]), 1e-4) << i;
  }
}

TEST_P(Decode, CachedLogitsEqualTheFullForwardsOverManyPieces) {
  const Model model = load_model(golden_model(GetParam()), {});
  const std::vector<int32_t> ids = some_ids(900);
  const at::Tensor full = all_logits(model, document_batch(model, ids));
  const auto cache = make_kv_cache(model, 1000);
  const std::span<const int32_t> all(ids);
  size_t fed = 0;
  for (const size_t count : {1, 300, 7, 570, 22}) {
    const at::Tensor logits = decode_step(model, all.subspan(fed, count), *cache);
    fed += count;
    EXPECT_LT(max_difference(logits, full[static_cast<int64_t>(fed) - 1]), 2e-4) << fed;
  }
  EXPECT_EQ(fed, ids.size());
}

INSTANTIATE_TEST_SUITE_P(Models, Decode,
                         ::testing::Values("llama", "llama_untied_llama3rope", "llama_gqa_bias",
                                           "mistral", "qwen2", "qwen2_window", "qwen3"),
                         [](const auto& info) { return info.param; });

TEST(DecodeAdapter, AdaptersActWhileDecoding) {
  const auto folder = golden_model("qwen3");
  const Model model = load_model(folder, {.adapter_path = folder / "adapter"});
  const std::vector<int32_t> ids = some_ids(20);
  const at::Tensor full = all_logits(model, document_batch(model, ids));
  const auto cache = make_kv_cache(model, 20);
  const std::span<const int32_t> all(ids);
  decode_step(model, all.first(19), *cache);
  EXPECT_LT(max_difference(decode_step(model, all.last(1), *cache), full[19]), 1e-4);
}

TEST(DecodeAdapter, AFullCacheAndNoTokensAreRefused) {
  const Model model = load_model(golden_model("llama"), {});
  const auto cache = make_kv_cache(model, 8);
  const std::vector<int32_t> ids = some_ids(9);
  expect_failure([&] { decode_step(model, ids, *cache); }, core::ErrorKind::kBadInput,
                 {"9 tokens", "1 to 8"});
  expect_failure([&] { decode_step(model, {}, *cache); }, core::ErrorKind::kBadInput, {"nothing"});
}

}  // namespace
}  // namespace hone::models
