#include "kernels/simd/kernels.h"

namespace hone::kernels {

const KernelTable& portable_kernels() {
  static constexpr KernelTable kTable = make_table("portable");
  return kTable;
}

}  // namespace hone::kernels
