// T tokens, H query heads, K key/value heads, N head dim, P head dim padded to whole vectors, C =
// (H + 2K) * N.
#include "kernels/attention_plan.h"
#include "kernels/autograd.h"
#include "kernels/parallel.h"
#include "kernels/reference.h"

namespace hone::kernels {
namespace {

constexpr int64_t kRowPiece = 64;

// Inputs as the kernels want them: contiguous, tables and norm weights in float32.
AttentionInput normalised(AttentionInput input) {
  input.qkv_TC = input.qkv_TC.contiguous();
  input.cos_TN2 = input.cos_TN2.to(at::kFloat).contiguous();
  input.sin_TN2 = input.sin_TN2.to(at::kFloat).contiguous();
  for (Weight* norm : {&input.q_norm_N, &input.k_norm_N}) {
    if (norm->defined()) norm->value = norm->value.to(at::kFloat).contiguous();
  }
  return input;
}

// The packed copies one direction works on; they are made again in the backward, which costs far
// less than keeping them.
struct Packed {
  at::Tensor q_HTP, k_KTP, v_KTP, kt, vt;
};

Packed pack(const AttentionInput& input, const AttentionPlan& plan, bool backward) {
  const int64_t heads = input.shape.num_heads, kv = input.shape.num_kv_heads;
  Packed packed{pack_heads(input, 0, heads),
                pack_heads(input, heads, kv),
                pack_heads(input, heads + kv, kv),
                {},
                {}};
  packed.kt = transpose_heads(plan, packed.k_KTP);
  if (backward) packed.vt = transpose_heads(plan, packed.v_KTP);
  return packed;
}

AttentionArgs make_args(const AttentionInput& input, const AttentionPlan& plan,
                        const Packed& packed, const at::Tensor& lse_HT) {
  const AttentionShape& s = input.shape;
  AttentionArgs args;
  args.num_tokens = input.qkv_TC.size(0);
  args.num_heads = s.num_heads;
  args.num_kv_heads = s.num_kv_heads;
  args.padded_dim = padded_head_dim(s);
  args.head_dim = s.head_dim;
  args.window = s.sliding_window;
  args.transposed_size = plan.transposed_size * args.padded_dim;
  args.scale = static_cast<float>(s.scale);
  args.blocks = plan.blocks.data();
  args.q = data<float>(packed.q_HTP);
  args.k = data<float>(packed.k_KTP);
  args.v = data<float>(packed.v_KTP);
  args.kt = data<float>(packed.kt);
  args.vt = data<float>(packed.vt);
  args.lse = data<float>(lse_HT);
  return args;
}

at::Tensor attention_forward(const AttentionInput& input, at::Tensor& lse_HT) {
  const int64_t tokens = input.qkv_TC.size(0);
  const auto floats = input.qkv_TC.options().dtype(at::kFloat);
  const AttentionPlan plan = plan_forward(input.cu_doc_lens, input.shape);
  const Packed packed = pack(input, plan, false);
  lse_HT = at::empty({input.shape.num_heads, tokens}, floats);
  at::Tensor out = at::empty({tokens, input.shape.num_heads * input.shape.head_dim}, floats);
  AttentionArgs args = make_args(input, plan, packed, lse_HT);
  args.out = data<float>(out);
  const int64_t scratch_size = forward_scratch(args.padded_dim);
  const at::Tensor scratch = at::empty({at::get_num_threads(), scratch_size}, floats);
  for_tasks(static_cast<int64_t>(plan.tasks.size()), [&](int64_t task, int thread) {
    cpu_kernels().attention_forward(args, plan.tasks[static_cast<size_t>(task)],
                                    data<float>(scratch) + thread * scratch_size);
  });
  return out.to(input.qkv_TC.scalar_type());
}

// The output's gradient as [H, T, P] floats.
at::Tensor pack_grad(const AttentionInput& input, const at::Tensor& grad) {
  AttentionInput view = input;
  view.qkv_TC = grad;
  view.shape.num_heads = 0;  // every slot counts as a value head: copied as it is
  view.shape.num_kv_heads = 0;
  return pack_heads(view, 0, input.shape.num_heads);
}

at::Tensor row_dots(const AttentionInput& input, const at::Tensor& grad, const at::Tensor& out) {
  const int64_t tokens = grad.size(0), heads = input.shape.num_heads, dim = input.shape.head_dim;
  at::Tensor delta_HT = at::empty({heads, tokens}, grad.options().dtype(at::kFloat));
  for_element_type(grad, [&]<typename T>(T*) {
    for_tasks(heads, [&](int64_t head, int) {
      typed<T>(cpu_kernels())
          .row_dots(data<T>(grad) + head * dim, data<T>(out) + head * dim, heads * dim, tokens, dim,
                    data<float>(delta_HT) + head * tokens);
    });
  });
  return delta_HT;
}

struct Gradients {
  at::Tensor dq_HTP, dk_CHTP, dv_CHTP;
};

// The gradient of one slot's rows as floats: query heads have it, keys and values sum over chunks
// and their group.
const float* slot_gradient(const AttentionInput& input, const Gradients& grads, int64_t slot,
                           int64_t begin, int64_t rows, float* buffer) {
  const AttentionShape& s = input.shape;
  const int64_t tokens = input.qkv_TC.size(0), dim = padded_head_dim(s);
  if (slot < s.num_heads) return data<float>(grads.dq_HTP) + (slot * tokens + begin) * dim;
  const bool is_key = slot < s.num_heads + s.num_kv_heads;
  const at::Tensor& slabs = is_key ? grads.dk_CHTP : grads.dv_CHTP;
  const int64_t kv_head = slot - s.num_heads - (is_key ? 0 : s.num_kv_heads);
  const int64_t group = s.num_heads / s.num_kv_heads, slab = tokens * dim;
  const float* first = data<float>(slabs) + kv_head * group * slab + begin * dim;
  cpu_kernels().sum_slabs(first, slab, group, buffer, rows * dim);
  for (int64_t chunk = 1; chunk < slabs.size(0); ++chunk) {
    float* more = buffer + kRowPiece * dim;
    cpu_kernels().sum_slabs(first + chunk * s.num_heads * slab, slab, group, more, rows * dim);
    cpu_kernels().f32.accumulate(more, buffer, rows * dim);
  }
  return buffer;
}

// Through rotation and norm back into the fused layout; norm weight gradients per piece of rows,
// added in order.
at::Tensor unpack(const AttentionInput& input, const Gradients& grads) {
  const AttentionShape& s = input.shape;
  const int64_t tokens = input.qkv_TC.size(0), columns = input.qkv_TC.size(1);
  const int64_t slots = s.num_heads + 2 * s.num_kv_heads, dim = padded_head_dim(s);
  const int64_t pieces = (tokens + kRowPiece - 1) / kRowPiece;
  at::Tensor dqkv = at::empty_like(input.qkv_TC), norm_parts;
  const auto floats = input.qkv_TC.options().dtype(at::kFloat);
  if (input.q_norm_N.trainable() || input.k_norm_N.trainable()) {
    norm_parts = at::zeros({slots, pieces, s.head_dim}, floats);
  }
  const at::Tensor buffers = at::empty({at::get_num_threads(), 2 * kRowPiece * dim}, floats);
  for_element_type(input.qkv_TC, [&]<typename T>(T*) {
    for_tasks(slots * pieces, [&](int64_t task, int thread) {
      const int64_t slot = task / pieces, begin = task % pieces * kRowPiece;
      const RopeRows rows = rope_rows(input, slot, begin, std::min(tokens, begin + kRowPiece));
      const float* grad = slot_gradient(input, grads, slot, begin, rows.rows,
                                        data<float>(buffers) + thread * 2 * kRowPiece * dim);
      const int64_t at = begin * columns + slot * s.head_dim;
      typed<T>(cpu_kernels())
          .rope_backward(
              rows, grad, data<T>(input.qkv_TC) + at, columns, data<T>(dqkv) + at, columns,
              norm_parts.defined() ? data<float>(norm_parts) + task * s.head_dim : nullptr);
    });
  });
  if (input.q_norm_N.trainable()) {
    add_to_grad(input.q_norm_N, norm_parts.narrow(0, 0, s.num_heads).sum({0, 1}));
  }
  if (input.k_norm_N.trainable()) {
    add_to_grad(input.k_norm_N, norm_parts.narrow(0, s.num_heads, s.num_kv_heads).sum({0, 1}));
  }
  return dqkv;
}

at::Tensor attention_backward(const AttentionInput& input, const at::Tensor& out,
                              const at::Tensor& lse_HT, const at::Tensor& grad) {
  const int64_t tokens = input.qkv_TC.size(0), heads = input.shape.num_heads;
  const auto floats = input.qkv_TC.options().dtype(at::kFloat);
  const AttentionPlan plan = plan_backward(input.cu_doc_lens, input.shape, at::get_num_threads());
  const Packed packed = pack(input, plan, true);
  const at::Tensor g_HTP = pack_grad(input, grad), delta_HT = row_dots(input, grad, out);
  const int64_t dim = padded_head_dim(input.shape);
  const Gradients grads{at::empty({heads, tokens, dim}, floats),
                        at::zeros({plan.num_chunks, heads, tokens, dim}, floats),
                        at::zeros({plan.num_chunks, heads, tokens, dim}, floats)};
  AttentionArgs args = make_args(input, plan, packed, lse_HT);
  args.grad_out = data<float>(g_HTP);
  args.delta = data<float>(delta_HT);
  args.dq = data<float>(grads.dq_HTP);
  args.dk = data<float>(grads.dk_CHTP);
  args.dv = data<float>(grads.dv_CHTP);
  const at::Tensor scratch = at::empty({at::get_num_threads(), backward_scratch()}, floats);
  for_tasks(static_cast<int64_t>(plan.tasks.size()), [&](int64_t task, int thread) {
    cpu_kernels().attention_backward(args, plan.tasks[static_cast<size_t>(task)],
                                     data<float>(scratch) + thread * backward_scratch());
  });
  return unpack(input, grads);
}

struct AttentionState {
  AttentionInput input;  // without qkv, which is saved as a variable
  at::Tensor lse_HT;
};

struct Attention : torch::autograd::Function<Attention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& qkv_TC,
                            const at::Tensor& /*anchor*/, const AttentionInput& given) {
    AttentionState state{given, {}};
    state.input.qkv_TC = qkv_TC;
    state.input = normalised(std::move(state.input));
    at::Tensor out = attention_forward(state.input, state.lse_HT);
    ctx->save_for_backward({state.input.qkv_TC, out});
    state.input.qkv_TC = at::Tensor();
    save_state(ctx, std::move(state));
    return out;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const AttentionState& state = saved_state<AttentionState>(ctx);
    AttentionInput input = state.input;
    input.qkv_TC = saved[0];
    return {attention_backward(input, saved[1], state.lse_HT, grads[0].contiguous()), {}, {}};
  }
};

}  // namespace

at::Tensor attention(const at::Tensor& qkv_TC, const at::Tensor& cos_TN2, const at::Tensor& sin_TN2,
                     const std::vector<int32_t>& cu_doc_lens, const AttentionShape& shape,
                     const Weight& q_norm_N, const Weight& k_norm_N, double norm_eps) {
  const AttentionInput input{qkv_TC, cos_TN2,  sin_TN2,  cu_doc_lens,
                             shape,  q_norm_N, k_norm_N, norm_eps};
  check_attention(input);
  if (!has_cpu_kernels(qkv_TC)) {
    return reference::attention(qkv_TC, cos_TN2, sin_TN2, cu_doc_lens, shape, q_norm_N, k_norm_N,
                                norm_eps);
  }
  AttentionInput rest = input;
  rest.qkv_TC = at::Tensor();
  return Attention::apply(qkv_TC, gradient_anchor(q_norm_N.trainable() || k_norm_N.trainable()),
                          rest);
}

}  // namespace hone::kernels
