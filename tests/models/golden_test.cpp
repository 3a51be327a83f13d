// Logits, loss and every gradient against transformers and peft (tests/golden/README.md).
#include <gtest/gtest.h>

#include <set>

#include "tests/support/model_run.h"

namespace hone::models {
namespace {

constexpr double kLogitTolerance = 1e-4;     // largest absolute difference
constexpr double kGradientTolerance = 1e-4;  // relative norm
constexpr double kLossTolerance = 1e-5;

struct Case {
  std::string model, adapter;  // adapter: "", or what follows "adapter"; "-" for none
};

void PrintTo(const Case& item, std::ostream* out) { *out << item.model << item.adapter; }

class Golden : public ::testing::TestWithParam<Case> {
 protected:
  Model load(at::ScalarType dtype = at::kFloat) const {
    LoadOptions options{.compute_dtype = dtype, .train_base = full()};
    if (!full()) options.adapter_path = folder() / ("adapter" + GetParam().adapter);
    return load_model(folder(), options);
  }
  Tensors golden() const {
    return read_tensors(folder() / (full() ? "golden.safetensors"
                                           : "golden_lora" + GetParam().adapter + ".safetensors"));
  }
  bool full() const { return GetParam().adapter == "-"; }
  std::filesystem::path folder() const { return golden_model(GetParam().model); }
};

TEST_P(Golden, LogitsEqualTransformers) {
  const Model model = load();
  const Tensors golden = this->golden();
  EXPECT_LT(max_difference(all_logits(model, golden_batch(model, golden)), golden.at("logits")),
            kLogitTolerance);
}

TEST_P(Golden, LossAndEveryGradientEqualTransformers) {
  Model model = load();
  const Tensors golden = this->golden();
  const Batch batch = golden_batch(model, golden);
  const double loss = run_step(model, batch, 1.0 / static_cast<double>(num_trained(batch)));
  const double expected = golden.at("loss").item<double>();
  EXPECT_NEAR(loss, expected, kLossTolerance * expected);
  std::set<std::string> compared;
  for (const Stage& stage : model.stages) {
    for (const Parameter& parameter : stage.parameters) {
      if (!parameter.grad.defined()) continue;
      ASSERT_TRUE(golden.contains("grad." + parameter.name)) << parameter.name;
      EXPECT_LT(relative_difference(parameter.grad, golden.at("grad." + parameter.name)),
                kGradientTolerance)
          << parameter.name;
      compared.insert("grad." + parameter.name);
    }
  }
  for (const auto& [name, tensor] : golden) {
    EXPECT_TRUE(!name.starts_with("grad.") || compared.contains(name)) << name << " is not trained";
  }
}

TEST_P(Golden, BFloat16StaysNearFloat32) {
  const Model model = load(at::kBFloat16);
  const Tensors golden = this->golden();
  const at::Tensor logits = all_logits(model, golden_batch(model, golden));
  EXPECT_LT(relative_difference(logits, golden.at("logits")), 0.05);
}

INSTANTIATE_TEST_SUITE_P(
    Models, Golden,
    ::testing::Values(Case{"llama", "-"}, Case{"llama_untied_llama3rope", "-"},
                      Case{"llama_gqa_bias", "-"}, Case{"llama_sharded", "-"}, Case{"mistral", "-"},
                      Case{"qwen2", "-"}, Case{"qwen2_window", "-"}, Case{"qwen3", "-"},
                      Case{"llama", ""}, Case{"llama", "_embed"},
                      Case{"llama_untied_llama3rope", ""}, Case{"llama_untied_llama3rope", "_head"},
                      Case{"llama_untied_llama3rope", "_save"}, Case{"llama_gqa_bias", ""},
                      Case{"llama_sharded", ""}, Case{"mistral", ""}, Case{"qwen2", ""},
                      Case{"qwen2_window", ""}, Case{"qwen3", ""}),
    [](const auto& info) {
      const std::string& adapter = info.param.adapter;
      return info.param.model + (adapter == "-" ? "_full" : "_lora" + adapter);
    });

}  // namespace
}  // namespace hone::models
