#include "data/epoch_rows.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/rng.h"

namespace hone::data {
namespace {

// `total` in parts proportional to `weights`: whole parts first, what is left to the largest
// remainders (ties: the first).
std::vector<int64_t> apportion(int64_t total, const std::vector<double>& weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<int64_t> parts;
  std::vector<double> remainders;
  for (const double weight : weights) {
    const double exact = static_cast<double>(total) * (weight / sum);
    parts.push_back(static_cast<int64_t>(std::floor(exact)));
    remainders.push_back(exact - std::floor(exact));
  }
  std::vector<size_t> order(weights.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order,
                           [&](size_t a, size_t b) { return remainders[a] > remainders[b]; });
  int64_t left = total - std::accumulate(parts.begin(), parts.end(), int64_t{0});
  for (size_t i = 0; left > 0; i = (i + 1) % order.size(), --left) ++parts[order[i]];
  return parts;
}

}  // namespace

EpochRows::EpochRows(std::vector<int64_t> rows, const std::vector<double>& weights, bool shuffle,
                     uint64_t seed)
    : rows_(std::move(rows)), weighted_(!weights.empty()), shuffle_(shuffle), seed_(seed) {
  if (weighted_ && weights.size() != rows_.size()) {
    core::fail(core::ErrorKind::kInternal, {.what = "a weight is needed for each source"});
  }
  int64_t total = 0;
  for (const int64_t count : rows_) {
    first_rows_.push_back(total);
    total += count;
  }
  const std::vector<int64_t> parts = weighted_ ? apportion(total, weights) : rows_;
  for (size_t s = 0; s < parts.size(); ++s) {
    if (rows_[s] == 0 && parts[s] > 0) {
      core::fail(core::ErrorKind::kBadInput, {.what = "dataset " + std::to_string(s + 1) +
                                                      " has a weight but no row to train on"});
    }
    begins_.push_back(begins_.back() + parts[s]);
  }
}

int64_t EpochRows::num_draws(int64_t source) const {
  const auto s = static_cast<size_t>(source);
  return begins_[s + 1] - begins_[s];
}

int64_t EpochRows::drawn_row(int64_t source, int64_t draw) const {
  const auto s = static_cast<size_t>(source);
  const int64_t pass = draw / rows_[s], index = draw % rows_[s];
  if (!shuffle_) return first_rows_[s] + index;
  const uint64_t seed = seed_ ^ (static_cast<uint64_t>(source) << 40);
  return first_rows_[s] + static_cast<int64_t>(core::random_permutation(
                              seed, core::RngSite::kMixture, static_cast<uint32_t>(pass),
                              static_cast<uint64_t>(rows_[s]), static_cast<uint64_t>(index)));
}

int64_t EpochRows::row_at(int64_t epoch, int64_t index) const {
  int64_t slot = index;
  if (shuffle_) {
    constexpr uint32_t kEpochMask = 0x7FFFFFFF;
    slot = static_cast<int64_t>(core::random_permutation(
        seed_, core::RngSite::kDataOrder, static_cast<uint32_t>(epoch) & kEpochMask,
        static_cast<uint64_t>(size()), static_cast<uint64_t>(index)));
  }
  if (!weighted_) return slot;
  const auto source = std::ranges::upper_bound(begins_, slot) - begins_.begin() - 1;
  const int64_t offset = slot - begins_[static_cast<size_t>(source)];
  return drawn_row(source, epoch * num_draws(source) + offset);
}

}  // namespace hone::data
