#include "kernels/simd/kernels.h"

namespace hone::kernels {

const KernelTable& avx2_kernels() {
  static constexpr KernelTable kTable = make_table("avx2");
  return kTable;
}

}  // namespace hone::kernels
