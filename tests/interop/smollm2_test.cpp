// A real checkpoint against float64: tests/golden/make_smollm2.py says how the reference was made.
#include <gtest/gtest.h>

#include <cmath>

#include "formats/gguf_import.h"
#include "tests/support/model_run.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"

namespace hone::models {
namespace {

TEST(SmolLM2, FloatErrorIsAtMostTwiceThatOfTransformers) {
  const test::TemporaryFolder work;
  formats::import_gguf(test::kSmolLM2Gguf, work / "model");
  const Tensors golden = read_tensors(std::filesystem::path(test::kSourceDir) /
                                      "tests/golden/smollm2/golden.safetensors");

  const Model model = load_model(work / "model", {});
  const Batch batch = golden_batch(model, golden);
  const at::Tensor logits = all_logits(model, batch);
  const at::Tensor selected = logits.index_select(0, golden.at("rows"))
                                  .index_select(1, golden.at("columns"))
                                  .to(at::kDouble);
  const at::Tensor error = (selected - golden.at("logits_float64")).abs();
  const double largest = error.max().item<double>();
  const double rms = std::sqrt(error.square().mean().item<double>());
  const double their_largest = golden.at("eager_max_error_selected").item<double>();
  const double their_rms = golden.at("eager_rms_error_selected").item<double>();
  RecordProperty("max_error", std::to_string(largest));
  RecordProperty("rms_error", std::to_string(rms));
  EXPECT_LE(largest, 2 * their_largest);
  EXPECT_LE(rms, 2 * their_rms);
  std::printf("largest error %.2e (transformers %.2e), rms %.2e (%.2e)\n", largest, their_largest,
              rms, their_rms);
}

}  // namespace
}  // namespace hone::models
