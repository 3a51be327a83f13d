#include "models/lora_embedding.h"

#include <torch/csrc/autograd/custom_function.h>

namespace hone::models {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct LoraEmbedding : torch::autograd::Function<LoraEmbedding> {
  // `anchor` is a leaf that requires grad: ids can't, and without it no backward would be recorded.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& base_TD,
                            const at::Tensor& /*anchor*/, const at::Tensor& ids_T,
                            const at::Tensor& a_RV, const at::Tensor& b_DR,
                            const at::Tensor& grad_a_RV, const at::Tensor& grad_b_DR,
                            double scale) {
    context->saved_data["ids"] = ids_T;
    context->saved_data["a"] = a_RV;
    context->saved_data["b"] = b_DR;
    context->saved_data["grad_a"] = grad_a_RV;
    context->saved_data["grad_b"] = grad_b_DR;
    context->saved_data["scale"] = scale;
    const at::Tensor rows_TR = a_RV.index_select(1, ids_T).t();
    return base_TD + at::matmul(rows_TR, b_DR.t()) * scale;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const at::Tensor& grad_TD = grads[0];
    const at::Tensor ids_T = context->saved_data["ids"].toTensor();
    const at::Tensor a_RV = context->saved_data["a"].toTensor();
    const at::Tensor b_DR = context->saved_data["b"].toTensor();
    const double scale = context->saved_data["scale"].toDouble();
    at::Tensor grad_a = context->saved_data["grad_a"].toTensor();
    at::Tensor grad_b = context->saved_data["grad_b"].toTensor();
    const at::Tensor scaled_TD = grad_TD.to(at::kFloat) * scale;
    const at::Tensor rows_RT = a_RV.index_select(1, ids_T).to(at::kFloat);
    grad_b.add_(at::matmul(scaled_TD.t(), rows_RT.t()));
    grad_a.index_add_(1, ids_T, at::matmul(scaled_TD, b_DR.to(at::kFloat)).t());
    return {grad_TD, {}, {}, {}, {}, {}, {}, {}};
  }
};

}  // namespace

at::Tensor add_lora_embedding(const at::Tensor& base_TD, const at::Tensor& ids_T,
                              const kernels::Weight& a_RV, const kernels::Weight& b_DR,
                              double scale) {
  const at::Tensor anchor =
      at::zeros({0}, base_TD.options().dtype(at::kFloat)).requires_grad_(true);
  return LoraEmbedding::apply(base_TD, anchor, ids_T, a_RV.value, b_DR.value, a_RV.grad, b_DR.grad,
                              scale);
}

}  // namespace hone::models
