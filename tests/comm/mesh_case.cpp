#include "tests/comm/mesh_case.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

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

template <typename Predicate>
int64_t expected_members(const Layout& layout, const Predicate& belongs) {
  int64_t sum = 0;
  for (int64_t rank = 0; rank < layout.num_ranks(); ++rank)
    sum += belongs(rank_position(layout, rank)) ? int64_t{1} << rank : 0;
  return sum;
}

void check_groups(Mesh& mesh) {
  const RankPosition own = rank_position(mesh.layout, mesh.rank);
  expect(mesh.shard.size() == mesh.layout.dp_shard, "the size of the shard group");
  expect(mesh.shard.rank() == own.shard, "the rank in the shard group");
  expect(mesh.replicate.size() == mesh.layout.dp_replicate, "the size of the replicate group");
  expect(mesh.replicate.rank() == own.replicate, "the rank in the replicate group");
  expect(mesh.host.size() == mesh.layout.num_ranks(), "all ranks in the host group");
  expect(mesh.host.rank() == mesh.rank, "the rank in the host group");
  const auto of_shard = [&](RankPosition other) {
    other.shard = own.shard;
    return other == own;
  };
  const auto of_replicate = [&](RankPosition other) {
    other.replicate = own.replicate;
    return other == own;
  };
  expect(members_of(mesh.shard, mesh.rank) == expected_members(mesh.layout, of_shard),
         "the sum over the shard group");
  expect(members_of(mesh.replicate, mesh.rank) == expected_members(mesh.layout, of_replicate),
         "the sum over the replicate group");
}

// The kept parts, put together in the order of the shard group, are the buffer; replicas keep the
// same.
void check_kept_parts(Mesh& mesh) {
  for (const int64_t count : {0, 1, 15, 16, 100, 1000}) {
    const ElementRange kept = mesh.kept_part(count);
    std::vector<int64_t> part(static_cast<size_t>(kept.size()));
    std::iota(part.begin(), part.end(), kept.begin);
    std::vector<int64_t> whole(static_cast<size_t>(count), -1), expected(whole.size());
    std::iota(expected.begin(), expected.end(), 0);
    mesh.shard.all_gather(part.data(), whole.data(), part_sizes(count, mesh.layout.dp_shard),
                          DType::kInt64);
    expect(whole == expected, "kept parts that make the buffer");
    std::vector<int64_t> begins(static_cast<size_t>(mesh.replicate.size()));
    mesh.replicate.all_gather(&kept.begin, begins.data(), 1, DType::kInt64);
    expect(std::ranges::count(begins, kept.begin) == mesh.layout.dp_replicate,
           "replicas that keep the same part");
  }
}

void check_data_ranks(Mesh& mesh) {
  const int64_t own = mesh.data_rank();
  std::vector<int64_t> ranks(static_cast<size_t>(mesh.host.size())), expected(ranks.size());
  mesh.host.all_gather(&own, ranks.data(), 1, DType::kInt64);
  std::ranges::sort(ranks);
  std::iota(expected.begin(), expected.end(), 0);
  expect(ranks == expected, "every place among the data-parallel ranks taken once");
  expect(mesh.data_size() == mesh.host.size(), "as many places as ranks");
}

}  // namespace

void check_mesh(const Communicator& world, const Layout& layout) {
  Mesh mesh = make_mesh(world, layout);
  expect(mesh.layout == layout && mesh.rank == world.rank(), "the mesh of this rank");
  check_groups(mesh);
  check_kept_parts(mesh);
  check_data_ranks(mesh);
}

}  // namespace hone::test
