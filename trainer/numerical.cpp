#include "trainer/numerical.h"

#include <set>

#include "core/error.h"
#include "models/flat_memory.h"
#include "trainer/optimizer.h"

namespace hone::trainer {
namespace {

constexpr size_t kMaxSamplesShown = 32;

bool all_finite(const at::Tensor& tensor) {
  return !tensor.defined() || !tensor.is_floating_point() ||
         at::isfinite(tensor).all().item<bool>();
}

// Of what this rank keeps of a trainable parameter.
bool kept_is_finite(const models::Stage& stage, const models::Parameter& parameter,
                    const at::Tensor& kept) {
  const ParameterPart part = kept_part_of(stage, parameter);
  return part.size == 0 || all_finite(kept.narrow(0, part.offset, part.size));
}

bool value_is_finite(const models::Stage& stage, const models::Parameter& parameter) {
  if (parameter.grad.defined()) return kept_is_finite(stage, parameter, stage.kept.trainable);
  // Frozen ones that are sharded have no memory between their uses.
  return !models::has_memory(parameter.value) || all_finite(parameter.value);
}

}  // namespace

std::string first_bad_parameter(const models::Model& model) {
  for (const models::Stage& stage : model.stages) {
    for (const models::Parameter& parameter : stage.parameters) {
      if (!value_is_finite(stage, parameter)) return "value of " + parameter.name;
    }
  }
  for (const models::Stage& stage : model.stages) {
    for (const models::Parameter& parameter : stage.parameters) {
      if (parameter.grad.defined() && !kept_is_finite(stage, parameter, stage.kept.grads))
        return "gradient of " + parameter.name;
    }
  }
  return "";
}

std::string describe_samples(std::span<const data::MicroBatch> micro_batches) {
  std::vector<int64_t> ids;
  std::set<int64_t> seen;
  for (const data::MicroBatch& micro_batch : micro_batches) {
    for (const int64_t id : micro_batch.sample_ids) {
      if (seen.insert(id).second) ids.push_back(id);
    }
  }
  std::string text = "samples ";
  for (size_t i = 0; i < ids.size() && i < kMaxSamplesShown; ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(ids[i]);
  }
  if (ids.size() > kMaxSamplesShown)
    text += " and " + std::to_string(ids.size() - kMaxSamplesShown) + " more";
  return text;
}

void fail_not_finite(const models::Model& model, const std::string& what, double got,
                     std::span<const data::MicroBatch> micro_batches) {
  const std::string bad = first_bad_parameter(model);
  core::fail(
      core::ErrorKind::kNumerical,
      {.what = what + (micro_batches.empty() ? "" : " (" + describe_samples(micro_batches) + ")"),
       .where = bad.empty() ? "all parameters are finite" : bad,
       .got = std::to_string(got),
       .expected = "a finite number",
       .hint = bad.starts_with("value")
                   ? "the weights were broken before this step"
                   : "nothing was saved or updated; try a lower learning_rate, "
                     "dtype: float32, or look at these samples"});
}

}  // namespace hone::trainer
