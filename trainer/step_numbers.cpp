#include "trainer/step_numbers.h"

#include <cmath>

namespace hone::trainer {
namespace {

constexpr int64_t kLoss = 0, kTokens = 1, kTrained = 2, kSources = 3;

}  // namespace

bool tells_numbers(const models::Model& model, const parallel::Mesh& mesh) {
  return mesh.leads() && model.sharding.computes(static_cast<int64_t>(model.stages.size()) - 1);
}

MicroBatchNumbers::MicroBatchNumbers(int64_t num_micro_batches, int64_t num_sources)
    : num_micro_batches_(num_micro_batches),
      num_sources_(num_sources > 1 ? num_sources : 0),
      width_(kSources + 2 * num_sources_),
      slots_(static_cast<size_t>(num_micro_batches * width_)) {}

double& MicroBatchNumbers::at(int64_t index, int64_t slot) {
  return slots_[static_cast<size_t>(index * width_ + slot)];
}
double MicroBatchNumbers::at(int64_t index, int64_t slot) const {
  return slots_[static_cast<size_t>(index * width_ + slot)];
}

void MicroBatchNumbers::enter(int64_t index, const data::MicroBatch& micro_batch, double loss_sum,
                              std::span<const double> losses) {
  at(index, kLoss) = loss_sum;
  at(index, kTokens) = static_cast<double>(micro_batch.input_ids.size());
  at(index, kTrained) = static_cast<double>(micro_batch.num_trained_tokens);
  SourceLosses by_source(static_cast<size_t>(num_sources_));
  add_losses(micro_batch, losses, by_source);
  for (int64_t source = 0; source < num_sources_; ++source) {
    const SourceLoss& of_source = by_source[static_cast<size_t>(source)];
    at(index, kSources + 2 * source) = of_source.loss_sum;
    at(index, kSources + 2 * source + 1) = static_cast<double>(of_source.num_trained_tokens);
  }
}

// One rank has each slot, the others have zero there: the sum is exact.
void MicroBatchNumbers::exchange(parallel::Mesh& mesh, std::span<double> more) {
  if (mesh.host.size() == 1) return;
  std::vector<double> all = slots_;
  all.insert(all.end(), more.begin(), more.end());
  mesh.host.all_reduce_ordered(all.data(), all.data(), static_cast<int64_t>(all.size()),
                               parallel::DType::kFloat64);
  const auto end_of_slots = all.begin() + static_cast<std::ptrdiff_t>(slots_.size());
  std::copy(all.begin(), end_of_slots, slots_.begin());
  std::copy(end_of_slots, all.end(), more.begin());
}

double MicroBatchNumbers::sum_of(int64_t slot) const {
  double sum = 0;
  for (int64_t i = 0; i < num_micro_batches_; ++i) sum += at(i, slot);
  return sum;
}

double MicroBatchNumbers::loss_sum() const { return sum_of(kLoss); }
int64_t MicroBatchNumbers::num_tokens() const { return static_cast<int64_t>(sum_of(kTokens)); }
int64_t MicroBatchNumbers::num_trained_tokens() const {
  return static_cast<int64_t>(sum_of(kTrained));
}

SourceLosses MicroBatchNumbers::by_source() const {
  SourceLosses sums;
  for (int64_t source = 0; source < num_sources_; ++source) {
    sums.push_back(
        {sum_of(kSources + 2 * source), static_cast<int64_t>(sum_of(kSources + 2 * source + 1))});
  }
  return sums;
}

int64_t MicroBatchNumbers::first_not_finite() const {
  for (int64_t i = 0; i < num_micro_batches_; ++i) {
    if (!std::isfinite(at(i, kLoss))) return i;
  }
  return -1;
}

}  // namespace hone::trainer
