// Reductions over MPI's point-to-point calls.
#pragma once

#include <functional>
#include <vector>

#include "parallel/comm/mpi_engine.h"

namespace hone::parallel {

// An all_reduce or reduce_scatter cut in slices: rank r owns a part of the vector (of all_reduce an
// equal one), and slice s of all parts is reduced in two rounds, collect and (all_reduce) spread.
// Slice s of a part may be empty where parts differ. An all_reduce of a few numbers takes one
// round: every rank collects and reduces all of it. In place is safe: a round writes only what an
// earlier one has sent.
struct SliceReduce {
  SliceReduce(const Operation& operation, int rank, int size, const MpiSizes& sizes);

  int64_t num_tags() const { return 2 * num_slices; }  // 2 s and 2 s + 1 are slice s's
  // Elements [begin, end) of the whole vector that are slice s of rank r's part.
  struct Range {
    int64_t begin = 0, count = 0;
  };
  Range slice(int64_t s, int r) const;

  Operation operation;
  int rank = 0, size = 0;
  std::vector<int64_t> starts;  // size + 1: where the parts begin, in elements
  int64_t slice_count = 0;      // elements of a slice of one part
  int64_t num_slices = 0;
  int64_t num_lanes = 0;
  bool small = false;  // one round: every rank's part is the whole vector
};

// Lanes that run the slices, several under way so that some move while one is summed.
std::vector<Lane> reduce_lanes(const SliceReduce& reduce, MpiEngine& engine, MPI_Comm comm,
                               const std::function<int(int64_t)>& tag);

}  // namespace hone::parallel
