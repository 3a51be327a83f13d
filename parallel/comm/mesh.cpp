#include "parallel/comm/mesh.h"

#include <string>

#include "core/error.h"
#include "parallel/schedule.h"

namespace hone::parallel {

int64_t Mesh::data_rank() const { return data_parallel_rank(layout, rank); }

ElementRange Mesh::kept_part(int64_t count) const {
  return part_of(count, rank_position(layout, rank).shard, layout.dp_shard);
}

Mesh make_mesh(const Communicator& world, const Layout& layout) {
  if (layout.num_ranks() != world.size()) {
    core::fail(core::ErrorKind::kInternal, {.what = "a layout of other ranks",
                                            .got = std::to_string(world.size()) + " ranks",
                                            .expected = describe_layout(layout)});
  }
  const RankPosition position = rank_position(layout, world.rank());
  // Colors number what the members of a group have in common.
  RankPosition of_shard_group = position, of_replicate_group = position;
  of_shard_group.shard = 0;
  of_replicate_group.replicate = 0;
  return {.layout = layout,
          .rank = world.rank(),
          .host = Communicator(world.backend()->host()),
          .shard = world.split(static_cast<int>(rank_at(layout, of_shard_group)), world.rank()),
          .replicate =
              world.split(static_cast<int>(rank_at(layout, of_replicate_group)), world.rank())};
}

Mesh solo_mesh() { return make_mesh(Communicator(make_solo()), {}); }

}  // namespace hone::parallel
