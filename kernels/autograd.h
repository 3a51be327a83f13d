// What the operators share on top of LibTorch's custom functions.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "kernels/cpu.h"
#include "kernels/ops.h"

namespace hone::kernels {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// True when our own kernels take this tensor; everything else goes to reference.h.
inline bool has_cpu_kernels(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

// Values of any type kept from forward to backward. Tensors that are inputs or outputs of the
// function belong in save_for_backward instead, which avoids reference cycles.
template <typename State>
struct StateHolder : torch::CustomClassHolder {
  explicit StateHolder(State s) : state(std::move(s)) {}
  State state;
};

template <typename State>
void save_state(AutogradContext* ctx, State state) {
  ctx->saved_data["state"] =
      c10::IValue::make_capsule(c10::make_intrusive<StateHolder<State>>(std::move(state)));
}

template <typename State>
State& saved_state(AutogradContext* ctx) {
  return static_cast<StateHolder<State>&>(*ctx->saved_data["state"].toCapsule()).state;
}

// Backward runs only if an input requires a gradient. Trainable weights are no inputs (their
// gradients are added in place), so a function whose data needs none is given this empty one.
inline at::Tensor gradient_anchor(bool wanted) {
  at::Tensor anchor = at::empty({0}, at::kFloat);
  if (wanted) anchor.set_requires_grad(true);
  return anchor;
}

// Calls f with a null pointer of the kernels' element type.
template <typename F>
void for_element_type(const at::Tensor& x, const F& f) {
  if (x.scalar_type() == at::kFloat) {
    f(static_cast<float*>(nullptr));
  } else {
    f(static_cast<Bf16*>(nullptr));
  }
}

template <typename T>
T* data(const at::Tensor& x) {
  return x.defined() ? static_cast<T*>(x.data_ptr()) : nullptr;
}

// `sum` into `weight.grad`, whatever the gradient's dtype.
inline void add_to_grad(const Weight& weight, const at::Tensor& sum) {
  at::Tensor grad = weight.grad;
  grad.add_(sum.view_as(grad));
}

}  // namespace hone::kernels
