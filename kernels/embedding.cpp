#include "core/error.h"
#include "kernels/autograd.h"
#include "kernels/parallel.h"
#include "kernels/reference.h"

namespace hone::kernels {
namespace {

constexpr int64_t kColumnPiece = 64;

// Each thread owns columns and adds rows in token order, so a repeated token sums the same way
// every time.
struct Embedding : torch::autograd::Function<Embedding> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& ids_T,
                            const at::Tensor& /*anchor*/, const Weight& w_VD) {
    ctx->save_for_backward({ids_T});
    save_state(ctx, w_VD);
    return w_VD.value.index_select(0, ids_T);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const at::Tensor ids = ctx->get_saved_variables()[0].contiguous();
    const Weight& w = saved_state<Weight>(ctx);
    if (!w.trainable() || !grads[0].defined()) return {{}, {}, {}};
    const at::Tensor g = grads[0].contiguous();
    const at::Tensor sum = w.grad.scalar_type() == at::kFloat && w.grad.is_contiguous()
                               ? w.grad
                               : at::zeros(w.grad.sizes(), g.options().dtype(at::kFloat));
    const int64_t dim = g.size(1), tokens = ids.size(0);
    const int64_t* id = data<int64_t>(ids);
    for_element_type(g, [&]<typename T>(T*) {
      for_pieces(dim, kColumnPiece, [&](int64_t begin, int64_t end) {
        for (int64_t t = 0; t < tokens; ++t) {
          typed<T>(cpu_kernels())
              .accumulate(data<T>(g) + t * dim + begin, data<float>(sum) + id[t] * dim + begin,
                          end - begin);
        }
      });
    });
    if (!sum.is_same(w.grad)) add_to_grad(w, sum);
    return {{}, {}, {}};
  }
};

}  // namespace

at::Tensor embedding(const at::Tensor& ids_T, const Weight& w_VD) {
  if (!has_cpu_kernels(w_VD.value)) return reference::embedding(ids_T, w_VD);
  if (ids_T.numel() > 0) {
    const int64_t low = ids_T.min().item<int64_t>(), high = ids_T.max().item<int64_t>();
    if (low < 0 || high >= w_VD.value.size(0)) {
      core::fail(core::ErrorKind::kBadInput,
                 {.what = "token id outside the vocabulary",
                  .got = std::to_string(low < 0 ? low : high),
                  .expected = "0 to " + std::to_string(w_VD.value.size(0) - 1)});
    }
  }
  return Embedding::apply(ids_T, gradient_anchor(w_VD.trainable()), w_VD);
}

}  // namespace hone::kernels
