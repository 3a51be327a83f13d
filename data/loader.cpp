#include "data/loader.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "data/packing.h"

namespace hone::data {
namespace {

constexpr int64_t kWindowRows = 1024;
// Keeps the draws for packs apart from those for rows, whose stream is the epoch.
constexpr uint32_t kPackStream = 0x80000000;

// The positions of one epoch: position p is rows[starts[p] .. starts[p + 1]).
struct EpochPlan {
  std::vector<int64_t> rows;
  std::vector<int64_t> starts = {0};
  int64_t num_positions() const { return static_cast<int64_t>(starts.size()) - 1; }
};

struct StepPlace {
  int64_t epoch = 0, step_in_epoch = 0;
};

}  // namespace

struct Loader::Impl {
  TokenCache cache;
  LoaderOptions options;
  std::vector<int64_t> kept;  // rows with at least one label
  std::mutex mutex;
  std::map<int64_t, std::shared_ptr<const EpochPlan>> plans;  // the epochs used last
  std::vector<int64_t> steps_before = {0};                    // steps of all epochs before this one

  int64_t positions_per_step() const {
    return options.micro_batch_size * options.gradient_accumulation_steps;
  }

  int64_t row_at(int64_t epoch, int64_t index) const {
    const uint64_t count = kept.size();
    if (!options.shuffle) return kept[static_cast<size_t>(index)];
    const auto stream = static_cast<uint32_t>(epoch) & ~kPackStream;
    return kept[core::random_permutation(options.seed, core::RngSite::kDataOrder, stream, count,
                                         static_cast<uint64_t>(index))];
  }

  void add_window(int64_t epoch, int64_t begin, EpochPlan& plan) const {
    const int64_t end = std::min<int64_t>(begin + kWindowRows, static_cast<int64_t>(kept.size()));
    std::vector<int64_t> rows, lengths;
    for (int64_t i = begin; i < end; ++i) {
      rows.push_back(row_at(epoch, i));
      lengths.push_back(cache.num_row_tokens(rows.back()));
    }
    const auto packs = pack_best_fit(lengths, options.max_length);
    // Packs come out of the packing longest row first; their order must not tell their content.
    const uint64_t window_seed = options.seed ^ (static_cast<uint64_t>(epoch) << 32);
    const auto stream = kPackStream | static_cast<uint32_t>(begin / kWindowRows);
    for (uint64_t p = 0; p < packs.size(); ++p) {
      const uint64_t chosen = options.shuffle
                                  ? core::random_permutation(window_seed, core::RngSite::kDataOrder,
                                                             stream, packs.size(), p)
                                  : p;
      for (const uint32_t index : packs[chosen]) plan.rows.push_back(rows[index]);
      plan.starts.push_back(static_cast<int64_t>(plan.rows.size()));
    }
  }

  std::shared_ptr<const EpochPlan> make_plan(int64_t epoch) const {
    auto plan = std::make_shared<EpochPlan>();
    const auto count = static_cast<int64_t>(kept.size());
    if (options.packing) {
      for (int64_t begin = 0; begin < count; begin += kWindowRows) add_window(epoch, begin, *plan);
    } else {
      for (int64_t i = 0; i < count; ++i) {
        plan->rows.push_back(row_at(epoch, i));
        plan->starts.push_back(i + 1);
      }
    }
    return plan;
  }

  std::shared_ptr<const EpochPlan> plan_locked(int64_t epoch) {
    auto& plan = plans[epoch];
    if (!plan) plan = make_plan(epoch);
    auto result = plan;
    while (plans.size() > 3)
      plans.erase(plans.begin()->first == epoch ? std::prev(plans.end()) : plans.begin());
    return result;
  }

  std::shared_ptr<const EpochPlan> plan(int64_t epoch) {
    std::lock_guard lock(mutex);
    return plan_locked(epoch);
  }

  int64_t num_steps(const EpochPlan& plan) const {
    return (plan.num_positions() + positions_per_step() - 1) / positions_per_step();
  }

  StepPlace place_of(int64_t step) {
    std::lock_guard lock(mutex);
    while (steps_before.back() <= step) {
      const auto epoch = static_cast<int64_t>(steps_before.size()) - 1;
      steps_before.push_back(steps_before.back() + num_steps(*plan_locked(epoch)));
    }
    const auto after = std::upper_bound(steps_before.begin(), steps_before.end(), step);
    const int64_t epoch = after - steps_before.begin() - 1;
    return {epoch, step - steps_before[static_cast<size_t>(epoch)]};
  }
};

namespace {

struct PositionRange {
  int64_t begin = 0, end = 0;
};

PositionRange step_range(const EpochPlan& plan, int64_t step_in_epoch, int64_t per_step) {
  const int64_t begin = step_in_epoch * per_step;
  return {begin, std::min(begin + per_step, plan.num_positions())};
}

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
}

void check(const LoaderOptions& options) {
  if (options.micro_batch_size < 1 || options.gradient_accumulation_steps < 1) {
    core::fail(core::ErrorKind::kInternal, {.what = "loader: batch sizes must be at least 1"});
  }
}

}  // namespace

Loader::Loader(TokenCache cache, LoaderOptions options) : impl_(std::make_shared<Impl>()) {
  check(options);
  impl_->options = options;
  for (int64_t row = 0; row < cache.num_rows(); ++row) {
    if (cache.num_row_trained(row) == 0) continue;
    if (cache.num_row_tokens(row) > options.max_length) {
      core::fail(core::ErrorKind::kInternal,
                 {.what = "loader: a row of the cache is longer than max_length"});
    }
    impl_->kept.push_back(row);
  }
  if (impl_->kept.empty()) {
    core::fail(core::ErrorKind::kBadInput, {.what = "no row of the dataset has a trained token"});
  }
  impl_->cache = std::move(cache);
}

int64_t Loader::num_steps_per_epoch(int64_t epoch) const {
  return impl_->num_steps(*impl_->plan(epoch));
}

int64_t Loader::num_positions(int64_t epoch) const { return impl_->plan(epoch)->num_positions(); }

int64_t Loader::num_micro_batches(int64_t step) const {
  const StepPlace place = impl_->place_of(step);
  const auto plan = impl_->plan(place.epoch);
  const PositionRange range = step_range(*plan, place.step_in_epoch, impl_->positions_per_step());
  const int64_t size = impl_->options.micro_batch_size;
  return (range.end - range.begin + size - 1) / size;
}

MicroBatch Loader::micro_batch(int64_t step, int64_t index) const {
  const StepPlace place = impl_->place_of(step);
  const auto plan = impl_->plan(place.epoch);
  const PositionRange range = step_range(*plan, place.step_in_epoch, impl_->positions_per_step());
  const int64_t size = impl_->options.micro_batch_size;
  const int64_t begin = range.begin + index * size, end = std::min(begin + size, range.end);
  if (index < 0 || begin >= range.end) {
    core::fail(core::ErrorKind::kInternal, {.what = "loader: no such micro-batch in this step"});
  }
  MicroBatch batch;
  batch.cu_doc_lens.push_back(0);
  const int64_t first = plan->starts[static_cast<size_t>(begin)],
                last = plan->starts[static_cast<size_t>(end)];
  for (int64_t i = first; i < last; ++i)
    append_document(impl_->cache, plan->rows[static_cast<size_t>(i)], batch);
  return batch;
}

int64_t Loader::num_trained_tokens(int64_t step) const {
  const StepPlace place = impl_->place_of(step);
  const auto plan = impl_->plan(place.epoch);
  const PositionRange range = step_range(*plan, place.step_in_epoch, impl_->positions_per_step());
  int64_t sum = 0;
  const int64_t first = plan->starts[static_cast<size_t>(range.begin)];
  const int64_t last = plan->starts[static_cast<size_t>(range.end)];
  for (int64_t i = first; i < last; ++i)
    sum += impl_->cache.num_row_trained(plan->rows[static_cast<size_t>(i)]);
  return sum;
}

double Loader::epoch_of_step(int64_t step) const {
  const StepPlace place = impl_->place_of(step);
  const int64_t steps = num_steps_per_epoch(place.epoch);
  return static_cast<double>(place.epoch) +
         static_cast<double>(place.step_in_epoch) / static_cast<double>(steps);
}

}  // namespace hone::data
