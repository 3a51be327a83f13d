// How the ranks of a run are arranged: a value that exists, and is checked, before any communicator
// or tensor does.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"

namespace hone::parallel {

// The product of the sizes is the number of ranks. Ranks are numbered with pp slowest and tp
// fastest: rank = (((pp * dp_replicate + replicate) * dp_shard + shard) * cp + context) * tp +
// tensor.
struct Layout {
  int64_t dp_replicate = 1;  // data parallel, every rank holds the whole stage
  int64_t dp_shard = 1;      // data parallel, stage parameters sharded (arXiv:1910.02054)
  int64_t cp = 1;            // one sequence over several ranks
  int64_t tp = 1;            // one layer over several ranks (arXiv:1909.08053)
  int64_t pp = 1;            // stages over several ranks

  // Undefined for a layout with problems.
  int64_t num_ranks() const { return dp_replicate * dp_shard * cp * tp * pp; }
  // Ranks that get different micro-batches of a step.
  int64_t data_parallel_size() const { return dp_replicate * dp_shard; }
  bool operator==(const Layout&) const = default;
};

// Where one rank stands on each axis, 0-based.
struct RankPosition {
  int64_t replicate = 0, shard = 0, context = 0, tensor = 0, pipeline = 0;
  bool operator==(const RankPosition&) const = default;
};

// The layout with dp_replicate set to the ranks that its other sizes leave over: num_ranks /
// (dp_shard x cp x tp x pp).
struct FilledLayout {
  Layout layout;  // as given where there are problems
  std::vector<std::string>
      problems;  // sizes that are none, or do not divide num_ranks; a line each
};
FilledLayout fill_dp_replicate(const Layout& layout, int64_t num_ranks);

// Sizes that are not positive or too large for any run, alone or multiplied; one line each.
std::vector<std::string> size_problems(const Layout& layout);

// Everything wrong with the layout for this many ranks and stages (embedding, blocks, head), one
// line each; empty when it is sound. Sizes are checked for being positive, for overflow, and for
// their product being num_ranks.
std::vector<std::string> layout_problems(const Layout& layout, int64_t num_ranks,
                                         int64_t num_stages);

// The same as one kBadRecipe error that lists all of them.
void validate_layout(const Layout& layout, int64_t num_ranks, int64_t num_stages);

// Both need a sound layout; rank_position throws kInternal for a rank outside it.
RankPosition rank_position(const Layout& layout, int64_t rank);
int64_t rank_at(const Layout& layout, const RankPosition& position);

// "dp_replicate 2 x tp 4"; "1 rank" when every size is 1.
std::string describe_layout(const Layout& layout);

core::Json layout_to_json(const Layout& layout);
// Throws kBadInput naming `where` for missing keys or values that are no positive integers.
Layout layout_from_json(const core::Json& json, const std::string& where);

}  // namespace hone::parallel
