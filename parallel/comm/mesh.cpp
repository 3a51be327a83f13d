#include "parallel/comm/mesh.h"

#include <initializer_list>
#include <string>

#include "core/error.h"
#include "parallel/comm/recorded.h"
#include "parallel/schedule.h"

namespace hone::parallel {

namespace {

// Colors number what the members of a group have in common: the rank with the axes of the group at
// 0.
int color_of(const Layout& layout, RankPosition position,
             std::initializer_list<int64_t RankPosition::*> axes) {
  for (const auto axis : axes) position.*axis = 0;
  return static_cast<int>(rank_at(layout, position));
}

// Groups of one rank have nothing to measure, and call nobody.
void measure(Mesh& mesh) {
  const auto measure_axis = [&](const std::string& name,
                                std::initializer_list<Communicator*> groups) {
    const auto use = std::make_shared<AxisUse>();
    bool is_used = false;
    for (Communicator* group : groups) {
      if (group->size() == 1) continue;
      *group = timed(*group, use);
      if (mesh.record) *group = recorded(*group, mesh.record, name);
      is_used = true;
    }
    if (is_used) mesh.uses.emplace_back(name, use);
  };
  measure_axis("dp_shard", {&mesh.shard});
  measure_axis("dp_replicate", {&mesh.replicate});
  measure_axis("tp", {&mesh.tensor});
  measure_axis("cp", {&mesh.context});
  measure_axis("pp", {&mesh.pipeline, &mesh.links.from_below, &mesh.links.to_above,
                      &mesh.links.from_above, &mesh.links.to_below, &mesh.ends});
}

}  // namespace

int64_t Mesh::data_rank() const { return data_parallel_rank(layout, rank); }

Mesh make_mesh(const Communicator& world, const Layout& layout,
               const std::shared_ptr<FlightRecord>& record) {
  if (layout.num_ranks() != world.size()) {
    core::fail(core::ErrorKind::kInternal, {.what = "a layout of other ranks",
                                            .got = std::to_string(world.size()) + " ranks",
                                            .expected = describe_layout(layout)});
  }
  const RankPosition position = rank_position(layout, world.rank());
  const auto group = [&](std::initializer_list<int64_t RankPosition::*> axes) {
    return world.split(color_of(layout, position, axes), world.rank());
  };
  const bool is_end = position.pipeline == 0 || position.pipeline == layout.pp - 1;
  const int ends_color =
      is_end ? color_of(layout, position, {&RankPosition::pipeline}) : world.rank();
  Mesh mesh{.layout = layout,
            .rank = world.rank(),
            .host = Communicator(world.backend()->host()),
            .shard = group({&RankPosition::shard, &RankPosition::context}),
            .replicate = group({&RankPosition::replicate}),
            .tensor = group({&RankPosition::tensor}),
            .context = group({&RankPosition::context}),
            .pipeline = group({&RankPosition::pipeline}),
            .links = make_pipeline_links(world, layout),
            .ends = world.split(ends_color, world.rank()),
            .uses = {},
            .record = record};
  measure(mesh);
  return mesh;
}

Mesh solo_mesh() { return make_mesh(Communicator(make_solo()), {}); }

}  // namespace hone::parallel
