// Between neighbours of the pipeline axis: one communicator for each of its directions.
#pragma once

#include "parallel/comm/communicator.h"
#include "parallel/layout.h"

namespace hone::parallel {

// Groups of two ranks, of which rank 0 is the lower one, and one alone where the axis has one rank.
// The axis is a ring: outputs of the last rank go up to the next chunk of the first. Each group
// carries messages one way only, always of tag 0. So where a communicator runs its operations one
// after the other (nccl.h), a receive that is started ahead keeps nothing waiting but later
// receives from the same rank, which come later anyhow; a group for both directions, or for the
// whole axis, would have ranks wait for each other forever (step_ranks.h, MessagePaths).
struct PipelineLinks {
  Communicator from_below, to_above;  // outputs of stages
  Communicator from_above, to_below;  // gradients
};

// The other rank of a link.
inline int link_peer(const Communicator& link) { return 1 - link.rank(); }

// Collective over `world`, which has the ranks of the layout.
PipelineLinks make_pipeline_links(const Communicator& world, const Layout& layout);

}  // namespace hone::parallel
