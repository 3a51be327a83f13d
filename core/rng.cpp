#include "core/rng.h"

#include <bit>

namespace hone::core {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, uint64_t key) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = kMultiplier0 * c[0], p1 = kMultiplier1 * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

uint64_t random_bits(uint64_t seed, RngSite site, uint32_t stream, uint64_t step, uint64_t index) {
  // 128 counter bits: 64 of index; 64 shared by site and stream, with the step folded into the key.
  const uint64_t key = seed ^ (step * 0x9E3779B97F4A7C15ull);
  const auto r = philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                             stream, static_cast<uint32_t>(site)},
                            key);
  return (uint64_t{r[1]} << 32) | r[0];
}

double random_uniform(uint64_t seed, RngSite site, uint32_t stream, uint64_t step, uint64_t index) {
  return static_cast<double>(random_bits(seed, site, stream, step, index) >> 11) * 0x1.0p-53;
}

uint64_t random_permutation(uint64_t seed, RngSite site, uint32_t stream, uint64_t n,
                            uint64_t index) {
  if (n < 2) return index;
  const int half = (std::bit_width(n - 1) + 1) / 2;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  uint64_t value = index;
  do {  // the network permutes 2^(2 half) >= n values; walk the cycle until one is below n
    uint64_t left = value >> half, right = value & mask;
    for (uint64_t round = 0; round < 6; ++round) {
      const uint64_t mixed = random_bits(seed, site, stream, round, right) & mask;
      const uint64_t next = left ^ mixed;
      left = right;
      right = next;
    }
    value = (left << half) | right;
  } while (value >= n);
  return value;
}

}  // namespace hone::core
