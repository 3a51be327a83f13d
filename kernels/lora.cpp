#include "kernels/lora.h"

#include "kernels/autograd.h"
#include "kernels/dropout.h"
#include "kernels/gemm.h"

namespace hone::kernels {
namespace {

// A of the adapters that see the undropped input, one below the other: one product instead of one
// each.
at::Tensor stacked_a(const std::vector<Lora>& loras, at::ScalarType dtype) {
  std::vector<at::Tensor> rows;
  for (const Lora& lora : loras) {
    if (lora.dropout == 0.0) rows.push_back(lora.a_RD.value.to(dtype));
  }
  if (rows.empty()) return {};
  return rows.size() == 1 ? rows[0] : at::cat(rows);
}

// Columns of each adapter in `down`: those without dropout first, as stacked_a has them.
std::vector<int64_t> column_offsets(const std::vector<Lora>& loras) {
  std::vector<int64_t> offsets(loras.size());
  int64_t next = 0;
  for (const bool with_dropout : {false, true}) {
    for (size_t i = 0; i < loras.size(); ++i) {
      if ((loras[i].dropout > 0.0) != with_dropout) continue;
      offsets[i] = next;
      next += loras[i].a_RD.value.size(0);
    }
  }
  return offsets;
}

}  // namespace

bool any_trainable(const std::vector<Lora>& loras) {
  for (const Lora& lora : loras) {
    if (lora.a_RD.trainable() || lora.b_OR.trainable()) return true;
  }
  return false;
}

at::Tensor lora_down(const at::Tensor& x_TD, const std::vector<Lora>& loras) {
  std::vector<at::Tensor> parts;
  const at::Tensor a = stacked_a(loras, x_TD.scalar_type());
  if (a.defined()) parts.push_back(matmul_nt(x_TD, a));
  for (const Lora& lora : loras) {
    if (lora.dropout == 0.0) continue;
    parts.push_back(matmul_nt(dropped(x_TD, lora), lora.a_RD.value.to(x_TD.scalar_type())));
  }
  return parts.size() == 1 ? parts[0] : at::cat(parts, 1);
}

void add_lora(const at::Tensor& y_TO, const at::Tensor& down_TR, const std::vector<Lora>& loras) {
  const std::vector<int64_t> offsets = column_offsets(loras);
  for (size_t i = 0; i < loras.size(); ++i) {
    const at::Tensor b = loras[i].b_OR.value.to(y_TO.scalar_type());
    add_matmul_nt(y_TO.narrow(1, loras[i].begin, b.size(0)),
                  down_TR.narrow(1, offsets[i], b.size(1)), b, loras[i].scale);
  }
}

void lora_backward(const at::Tensor& g_TO, const at::Tensor& x_TD, const at::Tensor& down_TR,
                   const std::vector<Lora>& loras, at::Tensor& dx_TD) {
  const at::ScalarType dtype = g_TO.scalar_type();
  const std::vector<int64_t> offsets = column_offsets(loras);
  at::Tensor ddown = at::empty_like(down_TR);
  int64_t undropped = 0;
  for (size_t i = 0; i < loras.size(); ++i) {
    const Lora& lora = loras[i];
    const int64_t rank = lora.b_OR.value.size(1);
    const at::Tensor g = g_TO.narrow(1, lora.begin, lora.b_OR.value.size(0));
    ddown.narrow(1, offsets[i], rank)
        .copy_(matmul_nn(g, lora.b_OR.value.to(dtype)).mul_(lora.scale));
    if (lora.b_OR.trainable()) {
      add_matmul_tn(lora.b_OR.grad, g, down_TR.narrow(1, offsets[i], rank), lora.scale);
    }
    if (lora.dropout == 0.0) undropped += rank;
  }
  if (undropped > 0 && dx_TD.defined()) {
    add_matmul_nn(dx_TD, ddown.narrow(1, 0, undropped), stacked_a(loras, dtype));
  }
  for (size_t i = 0; i < loras.size(); ++i) {
    const Lora& lora = loras[i];
    const at::Tensor part = ddown.narrow(1, offsets[i], lora.a_RD.value.size(0));
    if (lora.a_RD.trainable()) {
      add_matmul_tn(lora.a_RD.grad, part, lora.dropout == 0.0 ? x_TD : dropped(x_TD, lora));
    }
    if (lora.dropout > 0.0 && dx_TD.defined()) {
      add_dropped(dx_TD, matmul_nn(part, lora.a_RD.value.to(dtype)), lora);
    }
  }
}

}  // namespace hone::kernels
