#include "kernels/simd/kernels.h"

namespace hone::kernels {

const KernelTable& avx512_kernels() {
  static constexpr KernelTable kTable = make_table("avx512");
  return kTable;
}

}  // namespace hone::kernels
