// What head_loss with a split vocabulary does the same way on every device.
#pragma once

#include "kernels/ops.h"

namespace hone::kernels {

// Labels as rows of a weight of `rows` rows that begins at `begin`; -1 where another rank has it.
at::Tensor labels_in_shard(const at::Tensor& labels_T, int64_t begin, int64_t rows);

// Collective. From this rank's [T, 2] float64 (log of the sum of exponentials; the label's logit, 0
// if it is another rank's) the losses of the T rows, and as [T] float64 on the CPU the log-sums of
// the whole vocabulary. Added up in order of rank by the C library: the same bits on every rank.
at::Tensor combine_pairs(const at::Tensor& mine_T2, const VocabShard& shard, double* losses);

}  // namespace hone::kernels
