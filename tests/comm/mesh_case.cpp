#include "tests/comm/mesh_case.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <numeric>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "parallel/shards.h"
#include "tests/comm/values.h"

namespace hone::test {
namespace {

using namespace parallel;  // NOLINT

// One bit for each member's rank of the world: a group that is not the right one has another sum.
int64_t members_of(Communicator& group, int64_t world_rank) {
  int64_t bit = int64_t{1} << world_rank, sum = 0;
  group.all_reduce(&bit, &sum, 1, DType::kInt64);
  return sum;
}

// A group has the ranks that differ from this one in `axes` only, in the order of the world.
void check_group(Mesh& mesh, Communicator& group, const std::string& name,
                 std::initializer_list<int64_t RankPosition::*> axes) {
  const RankPosition own = mesh.position();
  int64_t members = 0, size = 0, place = 0;
  for (int64_t rank = 0; rank < mesh.layout.num_ranks(); ++rank) {
    RankPosition other = rank_position(mesh.layout, rank);
    for (const auto axis : axes) other.*axis = own.*axis;
    if (!(other == own)) continue;
    members += int64_t{1} << rank;
    size += 1;
    place += rank < mesh.rank ? 1 : 0;
  }
  expect(group.size() == size, "the size of the group " + name);
  expect(group.rank() == place, "the rank in the group " + name);
  expect(members_of(group, mesh.rank) == members, "the sum over the group " + name);
}

// The first and the last of the pipeline; the others are alone.
void check_ends(Mesh& mesh) {
  const int64_t last = mesh.layout.pp - 1;
  RankPosition first_end = mesh.position(), last_end = first_end;
  int64_t members = int64_t{1} << mesh.rank;
  if (first_end.pipeline == 0 || first_end.pipeline == last) {
    first_end.pipeline = 0;
    last_end.pipeline = last;
    members |= int64_t{1} << rank_at(mesh.layout, first_end);
    members |= int64_t{1} << rank_at(mesh.layout, last_end);
  }
  expect(members_of(mesh.ends, mesh.rank) == members, "the sum over the group of the ends");
}

// Sends this rank's number over one link and returns what comes over the other.
int64_t pass_on(Communicator& to, Communicator& from, int64_t number) {
  if (to.size() == 1) return number;
  int64_t received = -1;
  Request request = from.start_recv(&received, 1, DType::kInt64, link_peer(from));
  to.send(&number, 1, DType::kInt64, link_peer(to));
  request.wait();
  return received;
}

// Each link leads to the neighbour that differs in nothing else, and the other way on that one.
void check_links(Mesh& mesh) {
  const auto neighbour = [&](int64_t steps) {
    RankPosition position = mesh.position();
    position.pipeline = (position.pipeline + steps + mesh.layout.pp) % mesh.layout.pp;
    return rank_at(mesh.layout, position);
  };
  PipelineLinks& links = mesh.links;
  expect(pass_on(links.to_above, links.from_below, mesh.rank) == neighbour(-1),
         "an output of the rank below");
  expect(pass_on(links.to_below, links.from_above, mesh.rank) == neighbour(1),
         "a gradient of the rank above");
  const bool is_last = mesh.position().pipeline == mesh.layout.pp - 1;
  expect(is_last || links.to_above.rank() == 0, "the lower rank of a link first");
}

void check_groups(Mesh& mesh) {
  using P = RankPosition;
  expect(mesh.host.size() == mesh.layout.num_ranks(), "all ranks in the host group");
  expect(mesh.host.rank() == mesh.rank, "the rank in the host group");
  check_group(mesh, mesh.shard, "shard", {&P::shard, &P::context});
  check_group(mesh, mesh.replicate, "replicate", {&P::replicate});
  check_group(mesh, mesh.tensor, "tensor", {&P::tensor});
  check_group(mesh, mesh.context, "context", {&P::context});
  check_group(mesh, mesh.pipeline, "pipeline", {&P::pipeline});
  check_ends(mesh);
  check_links(mesh);
}

// Every axis of several ranks is listed, and a call of its group counts to it and to no other.
void check_uses(Mesh& mesh) {
  int64_t one = 1, sum = 0;
  const auto add_up = [&](Communicator& group) {
    return [&] { group.all_reduce(&one, &sum, 1, DType::kInt64); };
  };
  PipelineLinks& links = mesh.links;
  const std::vector<std::tuple<std::string, Communicator*, std::function<void()>>> calls = {
      {"dp_shard", &mesh.shard, add_up(mesh.shard)},
      {"dp_replicate", &mesh.replicate, add_up(mesh.replicate)},
      {"tp", &mesh.tensor, add_up(mesh.tensor)},
      {"cp", &mesh.context, add_up(mesh.context)},
      {"pp", &mesh.pipeline, add_up(mesh.pipeline)},
      {"pp", &links.to_above, [&] { pass_on(links.to_above, links.from_below, 1); }},
      {"pp", &links.to_below, [&] { pass_on(links.to_below, links.from_above, 1); }},
      {"pp", &mesh.ends, add_up(mesh.ends)}};
  std::set<std::string> listed;
  for (const auto& [name, group, call] : calls) {
    for (const auto& use : mesh.uses) *use.second = {};
    call();
    if (group->size() > 1) listed.insert(name);
    for (const auto& [axis, use] : mesh.uses) {
      const bool is_its = axis == name && group->size() > 1;
      expect((use->bytes > 0) == is_its && (use->seconds > 0) == is_its,
             "a call of " + name + " that counts to it, not to " + axis);
    }
  }
  expect(mesh.uses.size() == listed.size(), "the axes of several ranks, once each");
}

// The kept parts, put together in the order of the shard group, are the buffer; replicas keep the
// same.
void check_kept_parts(Mesh& mesh) {
  for (const int64_t count : {0, 1, 15, 16, 100, 1000}) {
    const ElementRange kept = part_of(count, mesh.shard.rank(), mesh.shard.size());
    std::vector<int64_t> part(static_cast<size_t>(kept.size()));
    std::iota(part.begin(), part.end(), kept.begin);
    std::vector<int64_t> whole(static_cast<size_t>(count), -1), expected(whole.size());
    std::iota(expected.begin(), expected.end(), 0);
    mesh.shard.all_gather(part.data(), whole.data(), part_sizes(count, mesh.shard.size()),
                          DType::kInt64);
    expect(whole == expected, "kept parts that make the buffer");
    std::vector<int64_t> begins(static_cast<size_t>(mesh.replicate.size()));
    mesh.replicate.all_gather(&kept.begin, begins.data(), 1, DType::kInt64);
    expect(std::ranges::count(begins, kept.begin) == mesh.layout.dp_replicate,
           "replicas that keep the same part");
  }
}

// Each data-parallel rank is that of one leader, and of all that compute the same micro-batches.
void check_data_ranks(Mesh& mesh) {
  const int64_t own = mesh.data_rank(), size = mesh.data_size();
  const int64_t led = mesh.leads() ? own : -1;
  std::vector<int64_t> ranks(static_cast<size_t>(mesh.host.size())), leaders(ranks.size());
  mesh.host.all_gather(&own, ranks.data(), 1, DType::kInt64);
  mesh.host.all_gather(&led, leaders.data(), 1, DType::kInt64);
  for (int64_t place = 0; place < size; ++place) {
    expect(std::ranges::count(ranks, place) == mesh.host.size() / size,
           "as many ranks of one place among the data-parallel ones as of another");
    expect(std::ranges::count(leaders, place) == mesh.layout.pp,
           "one leader of a micro-batch at each stage of the pipeline");
  }
  for (Communicator* peers : {&mesh.tensor, &mesh.context, &mesh.pipeline}) {
    int64_t highest = 0;
    peers->all_reduce(&own, &highest, 1, DType::kInt64, ReduceOp::kMax);
    expect(highest == own, "peers that compute the same micro-batches");
  }
}

}  // namespace

void check_mesh(const Communicator& world, const Layout& layout) {
  Mesh mesh = make_mesh(world, layout);
  expect(mesh.layout == layout && mesh.rank == world.rank(), "the mesh of this rank");
  check_groups(mesh);
  check_uses(mesh);
  check_kept_parts(mesh);
  check_data_ranks(mesh);
}

}  // namespace hone::test
