// Which stages each rank of the pipeline axis computes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hone::parallel {

// A model's stages are cut into chunks of neighbours; chunk c is computed by rank c % num_ranks of
// the axis. One chunk a rank, or several with an interleaved schedule (arXiv:2104.04473).
struct Pipeline {
  int64_t num_ranks = 1;
  int64_t num_stages = 0;
  std::vector<int64_t> chunk_begins{0};  // the first stage of every chunk

  int64_t num_chunks() const { return static_cast<int64_t>(chunk_begins.size()); }
  int64_t begin_of(int64_t chunk) const { return chunk_begins[static_cast<size_t>(chunk)]; }
  int64_t chunk_end(int64_t chunk) const;  // one past its last stage
  int64_t chunk_of(int64_t stage) const;
  int64_t rank_of(int64_t stage) const { return chunk_of(stage) % num_ranks; }
  bool operator==(const Pipeline&) const = default;
};

// All stages on one rank.
Pipeline whole_pipeline(int64_t num_stages);

// Cuts the stages so that the most costly chunk costs least: `costs` are of one micro-batch,
// forward and backward. The first chunk has the first stage (embedding) and a block at least, the
// last the last (head) and a block at least, the others at least one. Throws kInternal for fewer
// blocks than chunks.
Pipeline make_pipeline(const std::vector<double>& costs, int64_t num_ranks,
                       int64_t chunks_per_rank);

}  // namespace hone::parallel
