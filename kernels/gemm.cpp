#include "kernels/gemm.h"

namespace hone::kernels {
namespace {

void add_product(at::Tensor out, const at::Tensor& a, const at::Tensor& b, double scale) {
  if (out.scalar_type() == a.scalar_type()) {
    out.addmm_(a, b, 1.0, scale);
  } else {
    out.add_(at::mm(a, b), scale);
  }
}

}  // namespace

at::Tensor matmul_nt(const at::Tensor& a_MK, const at::Tensor& b_NK) {
  return at::mm(a_MK, b_NK.t());
}

at::Tensor matmul_nn(const at::Tensor& a_MK, const at::Tensor& b_KN) { return at::mm(a_MK, b_KN); }

void add_matmul_nt(const at::Tensor& out_MN, const at::Tensor& a_MK, const at::Tensor& b_NK,
                   double scale) {
  add_product(out_MN, a_MK, b_NK.t(), scale);
}

void add_matmul_nn(const at::Tensor& out_MN, const at::Tensor& a_MK, const at::Tensor& b_KN,
                   double scale) {
  add_product(out_MN, a_MK, b_KN, scale);
}

void add_matmul_tn(const at::Tensor& out_MN, const at::Tensor& a_KM, const at::Tensor& b_KN,
                   double scale) {
  add_product(out_MN, a_KM.t(), b_KN, scale);
}

}  // namespace hone::kernels
