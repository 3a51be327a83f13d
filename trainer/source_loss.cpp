#include "trainer/source_loss.h"

namespace hone::trainer {

void add_losses(const data::MicroBatch& micro_batch, std::span<const double> losses,
                SourceLosses& sums) {
  if (sums.empty()) return;
  size_t next = 0;
  for (size_t doc = 0; doc < micro_batch.source_ids.size(); ++doc) {
    SourceLoss& sum = sums[static_cast<size_t>(micro_batch.source_ids[doc])];
    const auto begin = static_cast<size_t>(micro_batch.cu_doc_lens[doc]),
               end = static_cast<size_t>(micro_batch.cu_doc_lens[doc + 1]);
    for (size_t i = begin; i < end; ++i) {
      if (micro_batch.labels[i] == -100) continue;
      sum.loss_sum += losses[next++];
      ++sum.num_trained_tokens;
    }
  }
}

void add_losses(const SourceLosses& more, SourceLosses& sums) {
  if (sums.empty()) sums.resize(more.size());
  for (size_t i = 0; i < more.size(); ++i) {
    sums[i].loss_sum += more[i].loss_sum;
    sums[i].num_trained_tokens += more[i].num_trained_tokens;
  }
}

core::Json losses_json(const SourceLosses& losses, const std::vector<std::string>& names) {
  if (losses.empty()) return nullptr;
  core::Json json = core::Json::object();
  for (size_t i = 0; i < losses.size(); ++i) {
    if (losses[i].num_trained_tokens == 0) continue;
    const auto tokens = static_cast<double>(losses[i].num_trained_tokens);
    json[names.at(i)] = {{"loss", losses[i].loss_sum / tokens},
                         {"trained_tokens", losses[i].num_trained_tokens}};
  }
  return json;
}

}  // namespace hone::trainer
