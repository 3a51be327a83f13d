#include "kernels/autograd.h"
#include "kernels/parallel.h"
#include "kernels/reference.h"

namespace hone::kernels {
namespace {

constexpr int64_t kRowPiece = 16;

// Keeps its input only: sigmoid and silu are computed again in the backward.
struct SwiGlu : torch::autograd::Function<SwiGlu> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate_up_T2F) {
    const at::Tensor input = gate_up_T2F.contiguous();
    const int64_t rows = input.size(0), width = input.size(1) / 2;
    at::Tensor y = at::empty({rows, width}, input.options());
    for_element_type(input, [&]<typename T>(T*) {
      for_pieces(rows, kRowPiece, [&](int64_t begin, int64_t end) {
        typed<T>(cpu_kernels())
            .swiglu_forward(data<T>(input) + 2 * begin * width, data<T>(y) + begin * width,
                            end - begin, width);
      });
    });
    ctx->save_for_backward({input});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const at::Tensor input = ctx->get_saved_variables()[0], gy = grads[0].contiguous();
    const int64_t rows = input.size(0), width = input.size(1) / 2;
    at::Tensor dx = at::empty_like(input);
    for_element_type(input, [&]<typename T>(T*) {
      for_pieces(rows, kRowPiece, [&](int64_t begin, int64_t end) {
        const int64_t at = begin * width;
        typed<T>(cpu_kernels())
            .swiglu_backward(data<T>(input) + 2 * at, data<T>(gy) + at, data<T>(dx) + 2 * at,
                             end - begin, width);
      });
    });
    return {dx};
  }
};

}  // namespace

at::Tensor swiglu(const at::Tensor& gate_up_T2F) {
  if (!has_cpu_kernels(gate_up_T2F)) return reference::swiglu(gate_up_T2F);
  return SwiGlu::apply(gate_up_T2F);
}

}  // namespace hone::kernels
