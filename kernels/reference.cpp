#include "kernels/reference.h"

#include <cmath>

#include "kernels/autograd.h"
#include "kernels/dropout.h"

namespace hone::kernels::reference {
namespace {

// The identity on a weight's value; its backward adds to the weight's gradient buffer.
struct GradientSink : torch::autograd::Function<GradientSink> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& /*anchor*/,
                            const Weight& weight) {
    save_state(ctx, weight);
    return weight.value.detach().alias();
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const Weight& weight = saved_state<Weight>(ctx);
    if (grads[0].defined()) add_to_grad(weight, grads[0]);
    return {{}, {}};
  }
};

at::Tensor leaf(const Weight& weight) {
  if (!weight.trainable()) return weight.value;
  return GradientSink::apply(gradient_anchor(true), weight);
}

at::Tensor norm_of(const at::Tensor& x, const Weight& w, double eps) {
  const at::ScalarType statistics = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor wide = x.to(statistics);
  const at::Tensor y = wide * at::rsqrt(wide.square().mean(-1, true) + eps);
  return y.to(x.scalar_type()) * leaf(w);
}

at::Tensor rotate(const at::Tensor& x_THN, const at::Tensor& cos_TN2, const at::Tensor& sin_TN2) {
  const int64_t half = x_THN.size(2) / 2;
  const at::Tensor c = cos_TN2.to(x_THN.scalar_type()).unsqueeze(1);
  const at::Tensor s = sin_TN2.to(x_THN.scalar_type()).unsqueeze(1);
  const at::Tensor a = x_THN.narrow(2, 0, half), b = x_THN.narrow(2, half, half);
  return at::cat({a * c - b * s, b * c + a * s}, 2);
}

// True where query i may see key j: same document, not later, inside the window. [T, T]
at::Tensor visibility(const std::vector<int32_t>& cu_doc_lens, int64_t tokens, int64_t window,
                      at::Device device) {
  at::Tensor document = at::zeros({tokens}, at::kLong);
  for (size_t d = 0; d + 1 < cu_doc_lens.size(); ++d) {
    document.narrow(0, cu_doc_lens[d], cu_doc_lens[d + 1] - cu_doc_lens[d])
        .fill_(static_cast<int64_t>(d));
  }
  const at::Tensor at = at::arange(tokens, at::kLong);
  const at::Tensor distance = at.unsqueeze(1) - at.unsqueeze(0);
  at::Tensor visible = document.unsqueeze(1).eq(document.unsqueeze(0)).logical_and(distance.ge(0));
  if (window > 0) visible = visible.logical_and(distance.lt(window));
  return visible.to(device);
}

}  // namespace

at::Tensor linear(const at::Tensor& x_TD, const Weight& w_OD, const Weight& bias_O,
                  const std::vector<Lora>& loras) {
  at::Tensor y = at::mm(x_TD, leaf(w_OD).t());
  if (bias_O.defined()) y = y + leaf(bias_O);
  for (const Lora& lora : loras) {
    at::Tensor x = x_TD;
    if (lora.dropout > 0.0) {
      x = x * dropout_factors(x.size(0), x.size(1), lora).to(x.options());
    }
    const at::Tensor a = leaf(lora.a_RD).to(x.scalar_type());
    const at::Tensor b = leaf(lora.b_OR).to(x.scalar_type());
    const at::Tensor term = at::mm(at::mm(x, a.t()), b.t()) * lora.scale;
    const int64_t after = y.size(1) - lora.begin - b.size(0);
    y = y + at::constant_pad_nd(term, {lora.begin, after});
  }
  return y;
}

at::Tensor rms_norm(const at::Tensor& x_TD, const Weight& w_D, double eps) {
  return norm_of(x_TD, w_D, eps);
}

std::pair<at::Tensor, at::Tensor> add_rms_norm(const at::Tensor& x_TD,
                                               const at::Tensor& residual_TD, const Weight& w_D,
                                               double eps) {
  const at::Tensor h = x_TD + residual_TD;
  return {h, norm_of(h, w_D, eps)};
}

at::Tensor swiglu(const at::Tensor& gate_up_T2F) {
  const std::vector<at::Tensor> halves = gate_up_T2F.chunk(2, 1);
  return at::silu(halves[0]) * halves[1];
}

at::Tensor attention(const at::Tensor& qkv_TC, const at::Tensor& cos_TN2, const at::Tensor& sin_TN2,
                     const std::vector<int32_t>& cu_doc_lens, const AttentionShape& shape,
                     const Weight& q_norm_N, const Weight& k_norm_N, double norm_eps) {
  const int64_t tokens = qkv_TC.size(0), heads = shape.num_heads, kv = shape.num_kv_heads;
  const at::Tensor all = qkv_TC.view({tokens, heads + 2 * kv, shape.head_dim});
  at::Tensor q = all.narrow(1, 0, heads), k = all.narrow(1, heads, kv);
  const at::Tensor v = all.narrow(1, heads + kv, kv);
  if (q_norm_N.defined()) q = norm_of(q, q_norm_N, norm_eps);
  if (k_norm_N.defined()) k = norm_of(k, k_norm_N, norm_eps);
  q = rotate(q, cos_TN2, sin_TN2).transpose(0, 1);
  k = rotate(k, cos_TN2, sin_TN2).transpose(0, 1).repeat_interleave(heads / kv, 0);
  const at::Tensor v_HTN = v.transpose(0, 1).repeat_interleave(heads / kv, 0);
  const at::Tensor visible = visibility(cu_doc_lens, tokens, shape.sliding_window, qkv_TC.device());
  at::Tensor scores = at::matmul(q, k.transpose(1, 2)) * shape.scale;
  scores = scores.masked_fill(visible.logical_not(), -INFINITY);
  const at::Tensor out = at::matmul(at::softmax(scores, -1), v_HTN);
  return out.transpose(0, 1).reshape({tokens, heads * shape.head_dim});
}

at::Tensor embedding(const at::Tensor& ids_T, const Weight& w_VD) {
  return leaf(w_VD).index_select(0, ids_T);
}

namespace {

HeadLoss head_loss_of_shard(const at::Tensor& x_TD, const Weight& w_VD, const at::Tensor& labels_T,
                            double loss_scale, bool want_grad, const std::vector<Lora>& loras,
                            const VocabShard& shard) {
  const at::AutoGradMode mode(want_grad);
  at::Tensor x = x_TD.detach();
  if (want_grad) x.set_requires_grad(true);
  const at::Tensor rows = labels_T.ne(-100).nonzero().view(-1);
  const at::Tensor label = labels_T.index_select(0, rows) - shard.begin;
  const at::Tensor logits = reference::linear(x, w_VD, {}, loras).index_select(0, rows);
  const at::Tensor exact = logits.detach().to(at::kDouble);
  const at::Tensor place = at::arange(exact.size(1), label.options()).unsqueeze(0);
  const at::Tensor one_hot = place.eq(label.unsqueeze(1));
  const at::Tensor label_logit = exact.masked_fill(one_hot.logical_not(), 0).sum(1);
  const at::Tensor mine = at::stack({exact.logsumexp(1), label_logit}, 1).contiguous();
  const at::Tensor all = rows.numel() > 0 ? shard.all_gather(mine) : mine.unsqueeze(0);
  const at::Tensor log_sum = all.select(2, 0).logsumexp(0);
  const at::Tensor losses =
      (log_sum - all.select(2, 1).sum(0)).to(at::kCPU, at::kDouble).contiguous();
  const double* values = losses.const_data_ptr<double>();
  HeadLoss result{losses.sum().item<double>(), {values, values + losses.numel()}, {}};
  if (want_grad) {
    const at::Tensor softmax = (exact - log_sum.unsqueeze(1)).exp();
    logits.backward(((softmax - one_hot.to(at::kDouble)) * loss_scale).to(logits.scalar_type()));
    result.grad_x_TD = x.grad();
  }
  return result;
}

}  // namespace

HeadLoss head_loss(const at::Tensor& x_TD, const Weight& w_VD, const at::Tensor& labels_T,
                   double loss_scale, bool want_grad, const std::vector<Lora>& loras,
                   const VocabShard* shard) {
  if (shard != nullptr) {
    return head_loss_of_shard(x_TD, w_VD, labels_T, loss_scale, want_grad, loras, *shard);
  }
  const at::AutoGradMode mode(want_grad);
  at::Tensor x = x_TD.detach();
  if (want_grad) x.set_requires_grad(true);
  at::Tensor logits = reference::linear(x, w_VD, {}, loras);
  if (logits.scalar_type() != at::kDouble) logits = logits.to(at::kFloat);
  const at::Tensor losses_T =
      at::cross_entropy_loss(logits, labels_T, {}, at::Reduction::None, -100);
  const at::Tensor loss = losses_T.sum();
  const at::Tensor trained =
      losses_T.detach().masked_select(labels_T.ne(-100)).to(at::kCPU, at::kDouble).contiguous();
  const double* values = trained.const_data_ptr<double>();
  HeadLoss result{loss.item<double>(), {values, values + trained.numel()}, {}};
  if (want_grad) {
    (loss * loss_scale).backward();
    result.grad_x_TD = x.grad();
  }
  return result;
}

}  // namespace hone::kernels::reference
