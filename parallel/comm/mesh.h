// The communicators of a layout, as one rank holds them.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "parallel/comm/communicator.h"
#include "parallel/comm/flight_record.h"
#include "parallel/comm/pipeline_links.h"
#include "parallel/comm/timed.h"
#include "parallel/layout.h"

namespace hone::parallel {

// Each of the groups has the ranks that differ from this one in the axes named, and in no other.
struct Mesh {
  Layout layout;
  int64_t rank = 0;
  Communicator host;       // all ranks, buffers in host memory: what is decided and told
  Communicator shard;      // dp_shard x cp: keep different parts of the same parameters
  Communicator replicate;  // dp_replicate: keep the same parts
  Communicator tensor;     // tp
  Communicator context;    // cp
  Communicator pipeline;   // pp
  PipelineLinks links;     // what a step sends along it
  // The first and the last of the pipeline axis, which both hold a tied embedding; this rank alone
  // where it is neither, or both.
  Communicator ends;
  // What this rank's calls of the groups cost, by the recipe's name of the axis, in the order of
  // the groups above; `links` and `ends` count to pp, host is not counted. Only groups of several
  // ranks.
  std::vector<std::pair<std::string, std::shared_ptr<AxisUse>>> uses;
  // Where the calls of the groups above are entered, by the same names; null: nowhere.
  std::shared_ptr<FlightRecord> record;

  RankPosition position() const { return rank_position(layout, rank); }
  int64_t data_size() const { return layout.data_parallel_size(); }
  int64_t data_rank() const;
  // One rank among those that compute the same micro-batches: the first of tp and cp.
  bool leads() const { return position().tensor == 0 && position().context == 0; }
  // The ranks that hold one whole model between them and rank 0 among them: those that differ from
  // it in tp and pp only.
  bool is_in_first_model() const { return data_rank() == 0 && position().context == 0; }
};

// Collective over `world`, which has as many ranks as the sound `layout` (kInternal if not). The
// calls of `host` are recorded where those of `world` are (recorded.h).
Mesh make_mesh(const Communicator& world, const Layout& layout,
               const std::shared_ptr<FlightRecord>& record = nullptr);

Mesh solo_mesh();  // one rank

}  // namespace hone::parallel
