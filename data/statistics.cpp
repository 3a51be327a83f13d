#include "data/statistics.h"

#include <algorithm>

namespace hone::data {
namespace {

// 1, 2 or 5 times a power of ten, or a power of two: lengths are cut at powers of two.
int64_t round_width(int64_t least) {
  int64_t power = 1, width = 1;
  while (width < least) width *= 2;
  while (10 * power < least) power *= 10;
  for (const int64_t factor : {10, 5, 2, 1}) {
    if (factor * power >= least) width = std::min(width, factor * power);
  }
  return width;
}

}  // namespace

std::vector<LengthBin> length_histogram(const TokenCache& cache, int64_t max_bins) {
  int64_t longest = 1;
  for (int64_t i = 0; i < cache.num_rows(); ++i)
    longest = std::max(longest, cache.num_row_tokens(i));
  const int64_t width = round_width((longest + max_bins - 1) / max_bins);
  std::vector<LengthBin> bins;
  for (int64_t low = 1; low <= longest; low += width) bins.push_back({low, low + width - 1, 0});
  for (int64_t i = 0; i < cache.num_rows(); ++i) {
    const int64_t length = std::max<int64_t>(1, cache.num_row_tokens(i));
    ++bins[static_cast<size_t>((length - 1) / width)].num_rows;
  }
  return bins;
}

double packing_fill(const TokenCache& cache, const Loader& loader, int64_t max_length) {
  double tokens = 0;
  for (int64_t source = 0; source < cache.num_sources(); ++source) {
    int64_t rows = 0, source_tokens = 0;
    for (int64_t i = cache.source_begin(source); i < cache.source_begin(source + 1); ++i) {
      if (cache.num_row_trained(i) == 0) continue;
      ++rows;
      source_tokens += cache.num_row_tokens(i);
    }
    if (rows == 0) continue;
    const double mean = static_cast<double>(source_tokens) / static_cast<double>(rows);
    tokens += mean * static_cast<double>(loader.num_draws(source));
  }
  const int64_t room = loader.num_positions(0) * max_length;
  return room == 0 ? 0 : tokens / static_cast<double>(room);
}

}  // namespace hone::data
