// The communicators of a layout, as one rank holds them.
#pragma once

#include "parallel/comm/communicator.h"
#include "parallel/layout.h"
#include "parallel/shards.h"

namespace hone::parallel {

struct Mesh {
  Layout layout;
  int64_t rank = 0;
  Communicator host;       // all ranks, buffers in host memory: what is decided and told
  Communicator shard;      // ranks that keep different parts of the same parameters
  Communicator replicate;  // ranks that keep the same parts

  int64_t data_size() const { return layout.data_parallel_size(); }
  int64_t data_rank() const;
  // The part of a stage's flat buffer of `count` elements that this rank keeps when it is sharded.
  ElementRange kept_part(int64_t count) const;
};

// Collective over `world`, which has as many ranks as the sound `layout` (kInternal if not).
Mesh make_mesh(const Communicator& world, const Layout& layout);

Mesh solo_mesh();  // one rank

}  // namespace hone::parallel
