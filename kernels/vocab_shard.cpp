#include "kernels/vocab_shard.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hone::kernels {

at::Tensor labels_in_shard(const at::Tensor& labels_T, int64_t begin, int64_t rows) {
  const at::Tensor labels = labels_T.sub(begin);
  return labels.masked_fill(labels.lt(0).logical_or(labels.ge(rows)), -1);
}

at::Tensor combine_pairs(const at::Tensor& mine_T2, const VocabShard& shard, double* losses) {
  const int64_t rows = mine_T2.size(0);
  const at::Tensor all = shard.all_gather(mine_T2).to(at::kCPU, at::kDouble).contiguous();
  const int64_t num_ranks = all.size(0);
  at::Tensor log_sums = at::empty({rows}, at::kDouble);
  const double* pairs = all.const_data_ptr<double>();
  double* out = log_sums.mutable_data_ptr<double>();
  for (int64_t t = 0; t < rows; ++t) {
    double top = -std::numeric_limits<double>::infinity(), sum = 0, label_logit = 0;
    for (int64_t r = 0; r < num_ranks; ++r) top = std::max(top, pairs[2 * (r * rows + t)]);
    for (int64_t r = 0; r < num_ranks; ++r) {
      sum += std::exp(pairs[2 * (r * rows + t)] - top);
      label_logit += pairs[2 * (r * rows + t) + 1];
    }
    out[t] = top + std::log(sum);
    losses[t] = out[t] - label_logit;
  }
  return log_sums;
}

}  // namespace hone::kernels
