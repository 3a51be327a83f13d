// Counter-based randomness: every draw is a pure function of (seed, site, step, index), so nothing
// has to be saved or restored to resume a run. Philox4x32-10, Salmon et al., "Parallel random
// numbers: as easy as 1, 2, 3" (SC 2011).
#pragma once

#include <array>
#include <cstdint>

namespace hone::core {

// Where a number is drawn. A new use gets a new value; values are part of the checkpoint format,
// never reuse one.
enum class RngSite : uint32_t {
  kDataOrder = 1,
  kLoraInit = 2,
  kLoraDropout = 3,
  kSampling = 4,
  kMixture = 16,
};

// Ten rounds of Philox on a 128-bit counter with a 64-bit key.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, uint64_t key);

// 64 random bits for draw `index` of `step` at a site; `stream` separates e.g. layers.
uint64_t random_bits(uint64_t seed, RngSite site, uint32_t stream, uint64_t step, uint64_t index);

// In [0, 1): the top 53 bits.
double random_uniform(uint64_t seed, RngSite site, uint32_t stream, uint64_t step, uint64_t index);

// A bijection of [0, n): element `index` of a permutation keyed by (seed, site, stream), in O(1)
// memory. A six-round Feistel network with cycle walking. Requires index < n.
uint64_t random_permutation(uint64_t seed, RngSite site, uint32_t stream, uint64_t n,
                            uint64_t index);

}  // namespace hone::core
