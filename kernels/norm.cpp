#include "kernels/autograd.h"
#include "kernels/parallel.h"
#include "kernels/reference.h"

namespace hone::kernels {
namespace {

constexpr int64_t kRowPiece = 32;  // partial weight gradients are per piece, whatever the threads

struct NormState {
  Weight w;
  at::Tensor w_value, rstd_T;
};

std::pair<at::Tensor, at::Tensor> norm_forward(const at::Tensor& x, const at::Tensor& residual,
                                               const at::Tensor& w, at::Tensor& rstd_T,
                                               double eps) {
  const int64_t rows = x.size(0), dim = x.size(1);
  at::Tensor y = at::empty_like(x);
  at::Tensor h = residual.defined() ? at::empty_like(x) : at::Tensor();
  rstd_T = at::empty({rows}, x.options().dtype(at::kFloat));
  for_element_type(x, [&]<typename T>(T*) {
    const auto& k = typed<T>(cpu_kernels());
    for_pieces(rows, kRowPiece, [&](int64_t begin, int64_t end) {
      const int64_t at = begin * dim;
      k.rms_norm_forward(data<T>(x) + at, residual.defined() ? data<T>(residual) + at : nullptr,
                         data<T>(w), h.defined() ? data<T>(h) + at : nullptr, data<T>(y) + at,
                         data<float>(rstd_T) + begin, end - begin, dim, static_cast<float>(eps));
    });
  });
  return {h, y};
}

at::Tensor norm_backward(const at::Tensor& x, const NormState& state, const at::Tensor& gy,
                         const at::Tensor& gh) {
  const int64_t rows = x.size(0), dim = x.size(1);
  at::Tensor dx = at::empty_like(x), partial;
  if (state.w.trainable()) {
    partial = at::zeros({(rows + kRowPiece - 1) / kRowPiece, dim}, x.options().dtype(at::kFloat));
  }
  for_element_type(x, [&]<typename T>(T*) {
    const auto& k = typed<T>(cpu_kernels());
    for_pieces(rows, kRowPiece, [&](int64_t begin, int64_t end) {
      const int64_t at = begin * dim;
      k.rms_norm_backward(
          data<T>(x) + at, data<T>(state.w_value), data<float>(state.rstd_T) + begin,
          data<T>(gy) + at, gh.defined() ? data<T>(gh) + at : nullptr, data<T>(dx) + at,
          partial.defined() ? data<float>(partial) + begin / kRowPiece * dim : nullptr, end - begin,
          dim);
    });
  });
  if (partial.defined()) add_to_grad(state.w, partial.sum(0));
  return dx;
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& /*anchor*/,
                            const Weight& w, double eps) {
    NormState state{w, w.value.to(x.scalar_type()).contiguous(), {}};
    const at::Tensor input = x.contiguous();
    at::Tensor y = norm_forward(input, {}, state.w_value, state.rstd_T, eps).second;
    ctx->save_for_backward({input});
    save_state(ctx, std::move(state));
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const at::Tensor x = ctx->get_saved_variables()[0];
    return {norm_backward(x, saved_state<NormState>(ctx), grads[0].contiguous(), {}), {}, {}, {}};
  }
};

struct AddRmsNorm : torch::autograd::Function<AddRmsNorm> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x,
                               const at::Tensor& residual, const at::Tensor& /*anchor*/,
                               const Weight& w, double eps) {
    NormState state{w, w.value.to(x.scalar_type()).contiguous(), {}};
    auto [h, y] =
        norm_forward(x.contiguous(), residual.contiguous(), state.w_value, state.rstd_T, eps);
    ctx->save_for_backward({h});
    save_state(ctx, std::move(state));
    return {h, y};
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const at::Tensor h = ctx->get_saved_variables()[0];
    if (!grads[1].defined()) return {grads[0], grads[0], {}, {}, {}};
    const at::Tensor gh = grads[0].defined() ? grads[0].contiguous() : at::Tensor();
    const at::Tensor dx = norm_backward(h, saved_state<NormState>(ctx), grads[1].contiguous(), gh);
    return {dx, dx, {}, {}, {}};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x_TD, const Weight& w_D, double eps) {
  if (!has_cpu_kernels(x_TD)) return reference::rms_norm(x_TD, w_D, eps);
  return RmsNorm::apply(x_TD, gradient_anchor(w_D.trainable()), w_D, eps);
}

std::pair<at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& x_TD,
                                               const at::Tensor& residual_TD, const Weight& w_D,
                                               double eps) {
  if (!has_cpu_kernels(x_TD)) return reference::add_rms_norm(x_TD, residual_TD, w_D, eps);
  const variable_list hy =
      AddRmsNorm::apply(x_TD, residual_TD, gradient_anchor(w_D.trainable()), w_D, eps);
  return {hy[0], hy[1]};
}

}  // namespace hone::kernels
