// Which instruction set the CPU kernels run on.
#pragma once

#include <string>
#include <vector>

#include "kernels/simd/table.h"

namespace hone::kernels {

enum class Isa { kPortable, kAvx2, kAvx512 };

// Those this processor and operating system can run, weakest first.
std::vector<Isa> available_isas();
const KernelTable& kernels_for(Isa isa);

// The best available; HONE_ISA=portable|avx2|avx512 lowers the choice. Decided once per process.
const KernelTable& cpu_kernels();

// "AuthenticAMD" or "GenuineIntel"; "" where the processor has no such name.
std::string cpu_vendor();

}  // namespace hone::kernels
