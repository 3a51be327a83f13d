// What the rows of a token cache look like as a whole.
#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"
#include "data/loader.h"

namespace hone::data {

struct LengthBin {
  int64_t low = 0, high = 0;  // tokens, both included
  int64_t num_rows = 0;
};

// Row lengths in at most `max_bins` ranges of one round width from 1 token up to the longest row.
// Reads offsets only.
std::vector<LengthBin> length_histogram(const TokenCache& cache, int64_t max_bins = 24);

// Tokens of the first epoch's rows by the room of its packs (max_length each), 0 to 1. Rows without
// a trained token are in no pack. A source that gives a part of its rows, by weight, counts with
// its mean length.
double packing_fill(const TokenCache& cache, const Loader& loader, int64_t max_length);

}  // namespace hone::data
