#include "parallel/comm/mpi_reduce.h"

#include <algorithm>
#include <memory>

#include "parallel/comm/combine.h"

namespace hone::parallel {
namespace {

// Up to here another round costs more than sending everything to everybody.
constexpr int64_t kSmallBytes = 4096;

// The slices first, first + num_lanes, ... of a reduction.
class SliceLane {
 public:
  SliceLane(SliceReduce reduce, StagingPool& pool, MPI_Comm comm, std::function<int(int64_t)> tag,
            int64_t first)
      : reduce_(std::move(reduce)),
        pool_(pool),
        comm_(comm),
        tag_(std::move(tag)),
        s_(first - reduce_.num_lanes) {
    element_ = static_cast<int64_t>(dtype_size(reduce_.operation.dtype));
  }

  bool next(Lane& lane) {
    if (collecting_) {
      collecting_ = false;
      combine();
      if (reduce_.operation.kind == OpKind::kAllReduce && !reduce_.small) {
        spread(lane);
        return true;
      }
    }
    s_ += reduce_.num_lanes;
    if (s_ >= reduce_.num_slices) {
      pool_.give(std::move(staged_));
      return false;
    }
    collect(lane);
    collecting_ = true;
    return true;
  }

 private:
  // What is sent is read from the input, as long as no rank has spread this slice.
  void collect(Lane& lane) {
    const Operation& operation = reduce_.operation;
    const auto mine = reduce_.slice(s_, reduce_.rank);
    const auto bytes = static_cast<size_t>((reduce_.size - 1) * mine.count * element_);
    if (staged_.size < bytes) staged_ = pool_.take(bytes);
    const int tag = tag_(2 * s_);
    for (int i = 1; i < reduce_.size; ++i) {
      const int from = (reduce_.rank + reduce_.size - i) % reduce_.size;
      recv(lane, staged(from, mine.count), mine.count, from, tag);
    }
    for (int i = 1; i < reduce_.size; ++i) {
      const int to = (reduce_.rank + i) % reduce_.size;
      const auto theirs = reduce_.slice(s_, to);
      send(lane, operation.input + theirs.begin * element_, theirs.count, to, tag);
    }
  }

  void combine() {
    const Operation& operation = reduce_.operation;
    const auto mine = reduce_.slice(s_, reduce_.rank);
    if (mine.count == 0) return;
    std::vector<const void*> inputs;
    for (int r = 0; r < reduce_.size; ++r) {
      if (r == reduce_.rank) {
        inputs.push_back(operation.input + mine.begin * element_);
      } else {
        inputs.push_back(staged(r, mine.count));
      }
    }
    combine_tree(operation.dtype, operation.reduce, inputs, result(mine), mine.count);
  }

  void spread(Lane& lane) {
    const auto mine = reduce_.slice(s_, reduce_.rank);
    const int tag = tag_(2 * s_ + 1);
    for (int i = 1; i < reduce_.size; ++i) {
      const int from = (reduce_.rank + reduce_.size - i) % reduce_.size;
      const auto theirs = reduce_.slice(s_, from);
      recv(lane, reduce_.operation.output + theirs.begin * element_, theirs.count, from, tag);
    }
    for (int i = 1; i < reduce_.size; ++i) {
      send(lane, result(mine), mine.count, (reduce_.rank + i) % reduce_.size, tag);
    }
  }

  // Where the reduced slice goes: all_reduce keeps its place in the vector, reduce_scatter's output
  // is the part alone.
  std::byte* result(const SliceReduce::Range& mine) const {
    const bool whole = reduce_.operation.kind == OpKind::kAllReduce;
    const int64_t base = whole ? 0 : reduce_.starts[static_cast<size_t>(reduce_.rank)];
    return reduce_.operation.output + (mine.begin - base) * element_;
  }

  std::byte* staged(int from, int64_t count) {
    const int64_t place = from < reduce_.rank ? from : from - 1;
    return staged_.data.get() + place * count * element_;
  }

  // A slice of no elements is no message.
  void send(Lane& lane, const std::byte* data, int64_t count, int peer, int tag) const {
    if (count > 0) lane.send(data, count * element_, peer, tag, comm_);
  }
  void recv(Lane& lane, std::byte* data, int64_t count, int peer, int tag) const {
    if (count > 0) lane.recv(data, count * element_, peer, tag, comm_);
  }

  SliceReduce reduce_;
  StagingPool& pool_;
  MPI_Comm comm_;
  std::function<int(int64_t)> tag_;
  int64_t s_, element_ = 0;
  bool collecting_ = false;
  StagingPool::Staging staged_;  // the other ranks' slices of this part
};

}  // namespace

SliceReduce::SliceReduce(const Operation& op, int rank_, int size_, const MpiSizes& sizes)
    : operation(op), rank(rank_), size(size_), starts(static_cast<size_t>(size_) + 1) {
  const auto element = static_cast<int64_t>(dtype_size(op.dtype));
  small = op.kind == OpKind::kAllReduce && op.count * element <= kSmallBytes;
  int64_t longest = small ? op.count : 0;
  for (int r = 0; r < size; ++r) {
    const auto i = static_cast<size_t>(r);
    const int64_t count = op.kind == OpKind::kAllReduce
                              ? op.count / size + (r < op.count % size ? 1 : 0)
                              : op.counts[i];
    starts[i + 1] = starts[i] + count;
    longest = std::max(longest, count);
  }
  slice_count = std::max<int64_t>(1, small ? op.count : sizes.slice_bytes / element);
  num_slices = (longest + slice_count - 1) / slice_count;
  num_lanes = std::min(sizes.slices, num_slices);
}

SliceReduce::Range SliceReduce::slice(int64_t s, int r) const {
  if (small) return {0, operation.count};
  const auto i = static_cast<size_t>(r);
  const int64_t begin = std::min(starts[i] + s * slice_count, starts[i + 1]);
  return {begin, std::min(slice_count, starts[i + 1] - begin)};
}

std::vector<Lane> reduce_lanes(const SliceReduce& reduce, MpiEngine& engine, MPI_Comm comm,
                               const std::function<int(int64_t)>& tag) {
  std::vector<Lane> lanes;
  for (int64_t first = 0; first < reduce.num_lanes; ++first) {
    auto runner = std::make_shared<SliceLane>(reduce, engine.staging, comm, tag, first);
    lanes.emplace_back().next = [runner](Lane& lane) { return runner->next(lane); };
  }
  return lanes;
}

}  // namespace hone::parallel
