// Helpers of the operator tests: weights as the contract has them, and relative distances in
// float64.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/ops.h"

namespace hone::kernels::oracle {

inline at::Tensor rand(at::IntArrayRef shape, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::randn(shape, generator, at::kFloat);
}

inline Weight weight(const at::Tensor& value, bool trainable = true) {
  return {value,
          trainable ? at::zeros_like(value, value.options().dtype(value.scalar_type() == at::kDouble
                                                                      ? at::kDouble
                                                                      : at::kFloat))
                    : at::Tensor()};
}

inline Weight as_double(const Weight& w) {
  if (!w.defined()) return {};
  return weight(w.value.to(at::kDouble), w.trainable());
}

inline Lora as_double(Lora lora) {
  lora.a_RD = as_double(lora.a_RD);
  lora.b_OR = as_double(lora.b_OR);
  return lora;
}

// |a - b| / |b| in float64.
inline double distance(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
  return ((x - y).norm() / y.norm().clamp_min(1e-30)).item<double>();
}

inline at::Tensor leaf(const at::Tensor& x) { return x.detach().clone().set_requires_grad(true); }

// Rotary tables of T positions that start again at each document.
struct Rope {
  at::Tensor cos, sin;
};
inline Rope rope(const std::vector<int32_t>& cu_doc_lens, int64_t head_dim) {
  std::vector<at::Tensor> positions;
  for (size_t d = 0; d + 1 < cu_doc_lens.size(); ++d) {
    positions.push_back(at::arange(cu_doc_lens[d + 1] - cu_doc_lens[d], at::kFloat));
  }
  const at::Tensor at_T = at::cat(positions).unsqueeze(1);
  const at::Tensor frequency =
      at::pow(10000.0, -at::arange(0, head_dim, 2, at::kFloat) / static_cast<double>(head_dim));
  const at::Tensor angle = at_T * frequency.unsqueeze(0);
  return {angle.cos(), angle.sin()};
}

}  // namespace hone::kernels::oracle
