#include "kernels/cpu.h"

#include <cpuid.h>

#include <cstdlib>
#include <cstring>

namespace hone::kernels {
namespace {

const KernelTable& choose() {
  const std::vector<Isa> available = available_isas();
  const char* wanted = std::getenv("HONE_ISA");
  for (const Isa isa : available) {
    if (wanted != nullptr && kernels_for(isa).name == std::string(wanted)) return kernels_for(isa);
  }
  return kernels_for(available.back());
}

}  // namespace

std::vector<Isa> available_isas() {
  std::vector<Isa> isas{Isa::kPortable};
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return isas;
  isas.push_back(Isa::kAvx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    isas.push_back(Isa::kAvx512);
  }
  return isas;
}

const KernelTable& kernels_for(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return avx512_kernels();
    case Isa::kAvx2:
      return avx2_kernels();
    default:
      return portable_kernels();
  }
}

const KernelTable& cpu_kernels() {
  static const KernelTable& chosen = choose();
  return chosen;
}

std::string cpu_vendor() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(0, &eax, &ebx, &ecx, &edx) == 0) return "";
  char name[13] = {};
  std::memcpy(name, &ebx, 4);
  std::memcpy(name + 4, &edx, 4);
  std::memcpy(name + 8, &ecx, 4);
  return name;
}

}  // namespace hone::kernels
