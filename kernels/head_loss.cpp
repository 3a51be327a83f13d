#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "kernels/autograd.h"
#include "kernels/gemm.h"
#include "kernels/lora.h"
#include "kernels/parallel.h"
#include "kernels/reference.h"

namespace hone::kernels {
namespace {

constexpr int64_t kLogitBytes = int64_t{200} << 20;
constexpr int64_t kMinChunkRows =
    256;  // fewer rows cost more in the product than they save in memory

int64_t chunk_rows(int64_t vocab) {
  return std::max<int64_t>(kLogitBytes / (vocab * static_cast<int64_t>(sizeof(float))),
                           kMinChunkRows);
}

// Logits in place become gradients (if wanted); the rows' losses go to `losses`.
void cross_entropy(const at::Tensor& logits, const at::Tensor& labels, double loss_scale,
                   bool want_grad, double* losses) {
  const int64_t rows = logits.size(0), vocab = logits.size(1);
  for_element_type(logits, [&]<typename T>(T*) {
    for_tasks(rows, [&](int64_t row, int) {
      typed<T>(cpu_kernels())
          .cross_entropy(data<T>(logits) + row * vocab, data<int64_t>(labels) + row, 1, vocab,
                         static_cast<float>(loss_scale), want_grad, losses + row);
    });
  });
}

// A row's place in a shard of the vocabulary, -1 where another rank has it.
at::Tensor labels_in_shard(const at::Tensor& labels, const VocabShard& shard, int64_t vocab) {
  const at::Tensor local = labels - shard.begin;
  return local.masked_fill(local.lt(0).logical_or(local.ge(vocab)), -1);
}

// From the pairs of all ranks [ranks, rows, 2]: a row's log-sum over the whole vocabulary, and its
// loss. Ranks are added in order, so that all of them get the same bits.
void combine_pairs(const at::Tensor& pairs, double* log_sums, double* losses) {
  const int64_t ranks = pairs.size(0), rows = pairs.size(1);
  const double* const pair = pairs.const_data_ptr<double>();
  for (int64_t row = 0; row < rows; ++row) {
    double top = -std::numeric_limits<double>::infinity(), sum = 0, label_logit = 0;
    for (int64_t rank = 0; rank < ranks; ++rank) top = std::max(top, pair[2 * (rank * rows + row)]);
    for (int64_t rank = 0; rank < ranks; ++rank) {
      sum += std::exp(pair[2 * (rank * rows + row)] - top);
      label_logit += pair[2 * (rank * rows + row) + 1];
    }
    log_sums[row] = top + std::log(sum);
    losses[row] = log_sums[row] - label_logit;
  }
}

// As cross_entropy, of a part of the vocabulary. Collective over the ranks of the shard.
void cross_entropy_of_shard(const at::Tensor& logits, const at::Tensor& labels, double loss_scale,
                            bool want_grad, const VocabShard& shard, double* losses) {
  const int64_t rows = logits.size(0), vocab = logits.size(1);
  const at::Tensor local = labels_in_shard(labels, shard, vocab);
  const at::Tensor mine = at::empty({rows, 2}, at::kDouble);
  for_element_type(logits, [&]<typename T>(T*) {
    for_tasks(rows, [&](int64_t row, int) {
      typed<T>(cpu_kernels())
          .log_sums(data<T>(logits) + row * vocab, data<int64_t>(local) + row, 1, vocab,
                    data<double>(mine) + 2 * row);
    });
  });
  std::vector<double> log_sums(static_cast<size_t>(rows));
  combine_pairs(shard.all_gather(mine).contiguous(), log_sums.data(), losses);
  if (!want_grad) return;
  for_element_type(logits, [&]<typename T>(T*) {
    for_tasks(rows, [&](int64_t row, int) {
      typed<T>(cpu_kernels())
          .cross_entropy_gradient(data<T>(logits) + row * vocab, data<int64_t>(local) + row, 1,
                                  vocab, static_cast<float>(loss_scale),
                                  &log_sums[static_cast<size_t>(row)]);
    });
  });
}

struct Head {
  const Weight& w;
  const std::vector<Lora>& loras;
  double loss_scale;
  bool want_grad;
  const VocabShard* shard;
};

// A dropout mask's rows are numbered through all trained rows, however they are cut into chunks.
std::vector<Lora> loras_from(const std::vector<Lora>& loras, int64_t begin) {
  std::vector<Lora> shifted = loras;
  for (Lora& lora : shifted) {
    lora.dropout_first_row += begin;
    if (lora.dropout_columns == 0) lora.dropout_columns = lora.a_RD.value.size(1);
  }
  return shifted;
}

// Losses of some rows from `begin` on; their input gradients go to dx.
void chunk_loss(const Head& all_rows, int64_t begin, const at::Tensor& x, const at::Tensor& labels,
                const at::Tensor& dx, double* losses) {
  const std::vector<Lora> loras = loras_from(all_rows.loras, begin);
  const Head head{all_rows.w, loras, all_rows.loss_scale, all_rows.want_grad, all_rows.shard};
  at::Tensor logits = matmul_nt(x, head.w.value), down;
  if (!head.loras.empty()) {
    down = lora_down(x, head.loras);
    add_lora(logits, down, head.loras);
  }
  if (head.shard != nullptr) {
    cross_entropy_of_shard(logits, labels, head.loss_scale, head.want_grad, *head.shard, losses);
  } else {
    cross_entropy(logits, labels, head.loss_scale, head.want_grad, losses);
  }
  if (!head.want_grad) return;
  at::Tensor dx_chunk = matmul_nn(logits, head.w.value);
  if (head.w.trainable()) add_matmul_tn(head.w.grad, logits, x);
  if (!head.loras.empty()) lora_backward(logits, x, down, head.loras, dx_chunk);
  at::Tensor target = dx;
  target.copy_(dx_chunk);
}

void check_labels(const at::Tensor& labels, int64_t vocab) {
  if (labels.numel() == 0) return;
  const int64_t low = labels.min().item<int64_t>(), high = labels.max().item<int64_t>();
  if (low >= 0 && high < vocab) return;
  core::fail(core::ErrorKind::kBadInput,
             {.what = "label outside the vocabulary",
              .got = std::to_string(low < 0 ? low : high),
              .expected = "-100, or 0 to " + std::to_string(vocab - 1)});
}

}  // namespace

HeadLoss head_loss(const at::Tensor& x_TD, const Weight& w_VD, const at::Tensor& labels_T,
                   double loss_scale, bool want_grad, const std::vector<Lora>& loras,
                   const VocabShard* shard) {
  if (!has_cpu_kernels(x_TD)) {
    return reference::head_loss(x_TD, w_VD, labels_T, loss_scale, want_grad, loras, shard);
  }
  const at::NoGradGuard no_grad;
  const int64_t vocab = shard != nullptr ? shard->whole : w_VD.value.size(0);
  const at::Tensor rows = labels_T.ne(-100).nonzero().view(-1);
  const at::Tensor labels = labels_T.index_select(0, rows);
  check_labels(labels, vocab);
  const bool all = rows.numel() == x_TD.size(0);
  const at::Tensor x = all ? x_TD.detach().contiguous() : x_TD.detach().index_select(0, rows);
  const at::Tensor dx = want_grad ? at::empty_like(x) : at::Tensor();
  const Head head{w_VD, loras, loss_scale, want_grad, shard};
  HeadLoss result;
  result.losses.resize(static_cast<size_t>(x.size(0)));
  // Ranks of a shard may hold unequal parts, but must make the same number of chunks.
  const int64_t ranks = shard != nullptr ? shard->num_ranks : 1;
  const int64_t step = chunk_rows((vocab + ranks - 1) / ranks);
  for (int64_t begin = 0; begin < x.size(0); begin += step) {
    const int64_t count = std::min(step, x.size(0) - begin);
    double* losses = result.losses.data() + begin;
    chunk_loss(head, begin, x.narrow(0, begin, count), labels.narrow(0, begin, count),
               want_grad ? dx.narrow(0, begin, count) : at::Tensor(), losses);
    result.loss_sum += std::accumulate(losses, losses + count, 0.0);
  }
  if (!want_grad) return result;
  result.grad_x_TD = all ? dx : at::zeros_like(x_TD).index_copy_(0, rows, dx);
  return result;
}

}  // namespace hone::kernels
