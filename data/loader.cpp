#include "data/loader.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "data/epoch_rows.h"
#include "data/packing.h"

namespace hone::data {
namespace {

constexpr int64_t kWindowRows = 1024;
constexpr size_t kWindowsKept = 8;
// Keeps the draws for packs apart from those for rows, whose stream is the epoch.
constexpr uint32_t kPackStream = 0x80000000;

// The rows that share a position: a pack, or one row.
using Position = std::vector<int64_t>;

// How many positions an epoch has before each of its windows (a last one: in all).
using WindowStarts = std::vector<int64_t>;

struct StepPlace {
  int64_t epoch = 0, step_in_epoch = 0;
};

struct PositionRange {
  int64_t epoch = 0, begin = 0, end = 0;
};

}  // namespace

struct Loader::Impl {
  TokenCache cache;
  LoaderOptions options;
  std::optional<EpochRows> order;
  std::mutex mutex;
  std::map<int64_t, std::shared_ptr<const WindowStarts>> starts;  // of the epochs used last
  std::map<std::pair<int64_t, int64_t>, std::shared_ptr<const std::vector<Position>>>
      windows;                              // of (epoch, window), those used last
  std::vector<int64_t> steps_before = {0};  // steps of all epochs before this one

  int64_t positions_per_step() const {
    return options.micro_batch_size * options.gradient_accumulation_steps;
  }

  int64_t row_at(int64_t epoch, int64_t index) const {
    return static_cast<int64_t>(
        cache.kept_rows()[static_cast<size_t>(order->row_at(epoch, index))]);
  }

  // The packs of window `window`: rows window * kWindowRows and on of the epoch's order.
  std::vector<Position> make_window(int64_t epoch, int64_t window) const {
    const int64_t begin = window * kWindowRows;
    const int64_t end = std::min<int64_t>(begin + kWindowRows, order->size());
    std::vector<int64_t> rows, lengths;
    for (int64_t i = begin; i < end; ++i) {
      rows.push_back(row_at(epoch, i));
      lengths.push_back(cache.num_row_tokens(rows.back()));
    }
    const auto packs = pack_best_fit(lengths, options.max_length);
    // Packs come out of the packing longest row first; their order must not tell their content.
    const uint64_t window_seed = options.seed ^ (static_cast<uint64_t>(epoch) << 32);
    const auto stream = kPackStream | static_cast<uint32_t>(window);
    std::vector<Position> positions(packs.size());
    for (uint64_t p = 0; p < packs.size(); ++p) {
      const uint64_t chosen = options.shuffle
                                  ? core::random_permutation(window_seed, core::RngSite::kDataOrder,
                                                             stream, packs.size(), p)
                                  : p;
      for (const uint32_t index : packs[chosen]) positions[p].push_back(rows[index]);
    }
    return positions;
  }

  std::shared_ptr<const std::vector<Position>> window_locked(int64_t epoch, int64_t window) {
    auto& entry = windows[{epoch, window}];
    if (!entry) entry = std::make_shared<const std::vector<Position>>(make_window(epoch, window));
    auto result = entry;
    // The oldest goes, or what was asked for again from before it.
    while (windows.size() > kWindowsKept) {
      const auto oldest = windows.begin();
      windows.erase(oldest->second == result ? std::prev(windows.end()) : oldest);
    }
    return result;
  }

  const WindowStarts& starts_locked(int64_t epoch) {
    auto& entry = starts[epoch];
    if (!entry) {
      auto counted = std::make_shared<WindowStarts>(1, 0);
      const int64_t num_windows = (order->size() + kWindowRows - 1) / kWindowRows;
      for (int64_t w = 0; w < num_windows; ++w) {
        counted->push_back(counted->back() + static_cast<int64_t>(make_window(epoch, w).size()));
      }
      entry = std::move(counted);
    }
    const auto& result = *entry;
    while (starts.size() > 3) {
      starts.erase(starts.begin()->first == epoch ? std::prev(starts.end()) : starts.begin());
    }
    return result;
  }

  int64_t num_positions_locked(int64_t epoch) {
    return options.packing ? starts_locked(epoch).back() : order->size();
  }

  int64_t num_positions(int64_t epoch) {
    std::lock_guard lock(mutex);
    return num_positions_locked(epoch);
  }

  Position position(int64_t epoch, int64_t index) {
    if (!options.packing) return {row_at(epoch, index)};
    std::lock_guard lock(mutex);
    const WindowStarts& before = starts_locked(epoch);
    const auto window = std::ranges::upper_bound(before, index) - before.begin() - 1;
    const int64_t first = before[static_cast<size_t>(window)];
    return (*window_locked(epoch, window))[static_cast<size_t>(index - first)];
  }

  int64_t num_steps(int64_t positions) const {
    return (positions + positions_per_step() - 1) / positions_per_step();
  }

  StepPlace place_of(int64_t step) {
    std::lock_guard lock(mutex);
    while (steps_before.back() <= step) {
      const auto epoch = static_cast<int64_t>(steps_before.size()) - 1;
      steps_before.push_back(steps_before.back() + num_steps(num_positions_locked(epoch)));
    }
    const auto after = std::upper_bound(steps_before.begin(), steps_before.end(), step);
    const int64_t epoch = after - steps_before.begin() - 1;
    return {epoch, step - steps_before[static_cast<size_t>(epoch)]};
  }

  PositionRange step_range(int64_t step) {
    const StepPlace place = place_of(step);
    const int64_t begin = place.step_in_epoch * positions_per_step();
    return {place.epoch, begin, std::min(begin + positions_per_step(), num_positions(place.epoch))};
  }
};

namespace {

void append_document(const TokenCache& cache, int64_t row_index, MicroBatch& batch) {
  const TokenRow row = cache.row(row_index);
  const size_t size = row.ids.size();
  for (size_t i = 0; i < size; ++i) {
    const bool labelled = i + 1 < size && row.trained[i + 1];
    batch.input_ids.push_back(row.ids[i]);
    batch.position_ids.push_back(static_cast<int32_t>(i));
    batch.labels.push_back(labelled ? row.ids[i + 1] : -100);
    batch.num_trained_tokens += labelled;
  }
  batch.cu_doc_lens.push_back(static_cast<int32_t>(batch.input_ids.size()));
  batch.sample_ids.push_back(row_index);
  batch.source_ids.push_back(static_cast<int32_t>(cache.source_of(row_index)));
}

void check(const LoaderOptions& options) {
  if (options.micro_batch_size < 1 || options.gradient_accumulation_steps < 1) {
    core::fail(core::ErrorKind::kInternal, {.what = "loader: batch sizes must be at least 1"});
  }
}

}  // namespace

Loader::Loader(TokenCache cache, LoaderOptions options) : impl_(std::make_shared<Impl>()) {
  check(options);
  const auto kept = cache.kept_rows();
  if (kept.empty()) {
    core::fail(core::ErrorKind::kBadInput, {.what = "no row of the dataset has a trained token"});
  }
  for (const uint64_t row : kept) {
    if (cache.num_row_tokens(static_cast<int64_t>(row)) > options.max_length) {
      core::fail(core::ErrorKind::kInternal,
                 {.what = "loader: a row of the cache is longer than max_length"});
    }
  }
  std::vector<int64_t> source_rows;
  for (int64_t s = 0; s < cache.num_sources(); ++s) {
    const auto begin = std::ranges::lower_bound(kept, static_cast<uint64_t>(cache.source_begin(s)));
    const auto end =
        std::ranges::lower_bound(kept, static_cast<uint64_t>(cache.source_begin(s + 1)));
    source_rows.push_back(end - begin);
  }
  impl_->order.emplace(std::move(source_rows), options.weights, options.shuffle, options.seed);
  impl_->options = std::move(options);
  impl_->cache = std::move(cache);
}

int64_t Loader::num_steps_per_epoch(int64_t epoch) const {
  return impl_->num_steps(impl_->num_positions(epoch));
}

int64_t Loader::num_positions(int64_t epoch) const { return impl_->num_positions(epoch); }
int64_t Loader::num_sources() const { return impl_->cache.num_sources(); }
int64_t Loader::num_draws(int64_t source) const { return impl_->order->num_draws(source); }
int64_t Loader::num_source_rows(int64_t source) const { return impl_->order->num_rows(source); }

int64_t Loader::num_micro_batches(int64_t step) const {
  const PositionRange range = impl_->step_range(step);
  const int64_t size = impl_->options.micro_batch_size;
  return (range.end - range.begin + size - 1) / size;
}

MicroBatch Loader::micro_batch(int64_t step, int64_t index) const {
  const PositionRange range = impl_->step_range(step);
  const int64_t size = impl_->options.micro_batch_size;
  const int64_t begin = range.begin + index * size, end = std::min(begin + size, range.end);
  if (index < 0 || begin >= range.end) {
    core::fail(core::ErrorKind::kInternal, {.what = "loader: no such micro-batch in this step"});
  }
  MicroBatch batch;
  batch.cu_doc_lens.push_back(0);
  for (int64_t p = begin; p < end; ++p) {
    for (const int64_t row : impl_->position(range.epoch, p))
      append_document(impl_->cache, row, batch);
  }
  return batch;
}

int64_t Loader::num_trained_tokens(int64_t step) const {
  const PositionRange range = impl_->step_range(step);
  int64_t sum = 0;
  for (int64_t p = range.begin; p < range.end; ++p) {
    for (const int64_t row : impl_->position(range.epoch, p))
      sum += impl_->cache.num_row_trained(row);
  }
  return sum;
}

double Loader::epoch_of_step(int64_t step) const {
  const StepPlace place = impl_->place_of(step);
  const int64_t steps = num_steps_per_epoch(place.epoch);
  return static_cast<double>(place.epoch) +
         static_cast<double>(place.step_in_epoch) / static_cast<double>(steps);
}

}  // namespace hone::data
