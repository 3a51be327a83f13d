#include "kernels/gemm.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "kernels/cpu.h"
#include "kernels/simd/gemm_avx512.h"

namespace hone::kernels {
namespace {

GemmRoute choose_route() {
  if (available_isas().back() != Isa::kAvx512) return GemmRoute::kLibrary;
  const char* wanted = std::getenv("HONE_GEMM");
  if (wanted != nullptr && std::string(wanted) == "own") return GemmRoute::kOwnAvx512;
  if (wanted != nullptr && std::string(wanted) == "library") return GemmRoute::kLibrary;
  return cpu_vendor() == "AuthenticAMD" ? GemmRoute::kOwnAvx512 : GemmRoute::kLibrary;
}

bool has_unit_stride(const at::Tensor& x) { return x.stride(0) == 1 || x.stride(1) == 1; }

// A product with a short side spends its time packing; LibTorch's is better there.
bool suits_own_kernel(const at::Tensor& a, const at::Tensor& b) {
  constexpr int64_t kMinSide = 48;
  return gemm_route() == GemmRoute::kOwnAvx512 && a.is_cpu() && a.scalar_type() == at::kFloat &&
         b.scalar_type() == at::kFloat && has_unit_stride(a) && has_unit_stride(b) &&
         std::min({a.size(0), a.size(1), b.size(1)}) >= kMinSide;
}

ConstMatrix view_of(const at::Tensor& x) {
  return {x.const_data_ptr<float>(), x.size(0), x.size(1), x.stride(0), x.stride(1)};
}

void own_product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, bool accumulate) {
  const int threads = at::get_num_threads();
  const at::Tensor scratch = at::empty({gemm_avx512_scratch(b.size(1), threads)}, at::kFloat);
  gemm_avx512(view_of(a), view_of(b), c.mutable_data_ptr<float>(), c.stride(0), accumulate,
              scratch.mutable_data_ptr<float>(), threads);
}

void add_product(at::Tensor out, const at::Tensor& a, const at::Tensor& b, double scale) {
  if (scale == 1.0) {
    gemm(out, a, b, true);
  } else if (out.scalar_type() == a.scalar_type()) {
    out.addmm_(a, b, 1.0, scale);
  } else {
    out.add_(at::mm(a, b), scale);
  }
}

}  // namespace

GemmRoute gemm_route() {
  static const GemmRoute route = choose_route();
  return route;
}

at::Tensor gemm(const at::Tensor& a_MK, const at::Tensor& b_KN) {
  if (!suits_own_kernel(a_MK, b_KN)) return at::mm(a_MK, b_KN);
  at::Tensor c = at::empty({a_MK.size(0), b_KN.size(1)}, a_MK.options());
  own_product(c, a_MK, b_KN, false);
  return c;
}

void gemm(const at::Tensor& c_MN, const at::Tensor& a_MK, const at::Tensor& b_KN, bool accumulate) {
  at::Tensor c = c_MN;
  if (suits_own_kernel(a_MK, b_KN) && c.scalar_type() == at::kFloat && c.stride(1) == 1) {
    own_product(c, a_MK, b_KN, accumulate);
  } else if (!accumulate) {
    c.copy_(at::mm(a_MK, b_KN));
  } else if (c.scalar_type() == a_MK.scalar_type()) {
    c.addmm_(a_MK, b_KN);
  } else {
    c.add_(at::mm(a_MK, b_KN));
  }
}

at::Tensor matmul_nt(const at::Tensor& a_MK, const at::Tensor& b_NK) {
  return gemm(a_MK, b_NK.t());
}

at::Tensor matmul_nn(const at::Tensor& a_MK, const at::Tensor& b_KN) { return gemm(a_MK, b_KN); }

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
