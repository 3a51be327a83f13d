#include "kernels/autograd.h"
#include "kernels/gemm.h"
#include "kernels/lora.h"
#include "kernels/parallel.h"
#include "kernels/reference.h"

namespace hone::kernels {
namespace {

constexpr int64_t kRowPiece = 64;

struct LinearState {
  Weight w, bias;
  std::vector<Lora> loras;
  at::Tensor down_TR;
};

void add_bias(const at::Tensor& y, const at::Tensor& bias) {
  const at::Tensor row = bias.to(y.scalar_type()).contiguous();
  const int64_t dim = y.size(1);
  for_element_type(y, [&]<typename T>(T*) {
    for_pieces(y.size(0), kRowPiece, [&](int64_t begin, int64_t end) {
      typed<T>(cpu_kernels()).add_bias(data<T>(y) + begin * dim, data<T>(row), end - begin, dim);
    });
  });
}

// Columns summed over pieces of rows, pieces added in order.
at::Tensor column_sums(const at::Tensor& g) {
  const int64_t rows = g.size(0), dim = g.size(1);
  at::Tensor partial =
      at::zeros({(rows + kRowPiece - 1) / kRowPiece, dim}, g.options().dtype(at::kFloat));
  for_element_type(g, [&]<typename T>(T*) {
    for_pieces(rows, kRowPiece, [&](int64_t begin, int64_t end) {
      typed<T>(cpu_kernels())
          .add_columns(data<T>(g) + begin * dim, data<float>(partial) + begin / kRowPiece * dim,
                       end - begin, dim, dim);
    });
  });
  return partial.sum(0);
}

struct Linear : torch::autograd::Function<Linear> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_TD,
                            const at::Tensor& /*anchor*/, const LinearState& given) {
    LinearState state = given;
    const at::Tensor x = x_TD.contiguous();
    at::Tensor y = matmul_nt(x, state.w.value);
    if (state.bias.defined()) add_bias(y, state.bias.value);
    if (!state.loras.empty()) {
      state.down_TR = lora_down(x, state.loras);
      add_lora(y, state.down_TR, state.loras);
    }
    const bool keep_input = state.w.trainable() || any_trainable(state.loras);
    ctx->save_for_backward({keep_input ? x : at::Tensor()});
    ctx->saved_data["wants_dx"] = x_TD.requires_grad();
    save_state(ctx, std::move(state));
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    LinearState& state = saved_state<LinearState>(ctx);
    const at::Tensor x = ctx->get_saved_variables()[0], g = grads[0].contiguous();
    at::Tensor dx;
    if (ctx->saved_data["wants_dx"].toBool()) dx = matmul_nn(g, state.w.value);
    if (state.w.trainable()) add_matmul_tn(state.w.grad, g, x);
    if (state.bias.trainable()) add_to_grad(state.bias, column_sums(g));
    if (!state.loras.empty()) lora_backward(g, x, state.down_TR, state.loras, dx);
    return {dx, {}, {}};
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x_TD, const Weight& w_OD, const Weight& bias_O,
                  const std::vector<Lora>& loras) {
  if (!has_cpu_kernels(x_TD)) return reference::linear(x_TD, w_OD, bias_O, loras);
  const bool trainable = w_OD.trainable() || bias_O.trainable() || any_trainable(loras);
  return Linear::apply(x_TD, gradient_anchor(trainable), LinearState{w_OD, bias_O, loras, {}});
}

}  // namespace hone::kernels
