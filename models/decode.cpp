#include "models/decode.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "models/decoder.h"
#include "models/stage_walk.h"

namespace hone::models {

// Keys (rotated) and values [K, capacity, N] of positions [end - held, end), the oldest at `begin`.
struct LayerCache {
  at::Tensor keys_KCN, values_KCN;
  int64_t window = 0;  // 0: everything is kept
  int64_t begin = 0, held = 0;
};

struct KvCache {
  std::vector<LayerCache> layers;
  int64_t length = 0, max_length = 0;
};

namespace {

// Prompts after the first are fed in pieces of this size, which bounds the scores held at once.
constexpr int64_t kChunk = 256;

at::Tensor rotate(const at::Tensor& x_THN, const Batch& batch) {
  const int64_t half = x_THN.size(2) / 2;
  const at::Tensor x = x_THN.to(at::kFloat);
  const at::Tensor low = x.narrow(2, 0, half), high = x.narrow(2, half, half);
  const at::Tensor cos = batch.cos_TN2.unsqueeze(1), sin = batch.sin_TN2.unsqueeze(1);
  return at::cat({low * cos - high * sin, high * cos + low * sin}, 2).to(x_THN.scalar_type());
}

struct Heads {
  at::Tensor q_THN, k_TKN, v_TKN;  // q and k normed and rotated
};

Heads take_heads(const ModelSpec& spec, const HeadSplit& split, const BlockWeights& block,
                 const at::Tensor& qkv_TC, const Batch& batch) {
  const int64_t tokens = qkv_TC.size(0), dim = spec.head_dim;
  const auto take = [&](int64_t begin, int64_t heads) {
    return qkv_TC.narrow(1, begin * dim, heads * dim).reshape({tokens, heads, dim});
  };
  const auto norm = [&](const at::Tensor& x, const kernels::Weight& weight) {
    if (!weight.defined()) return x;
    return kernels::rms_norm(x.reshape({-1, dim}), weight, spec.rms_norm_eps).view(x.sizes());
  };
  const at::Tensor q = norm(take(0, split.num_heads), block.q_norm);
  const at::Tensor k = norm(take(split.num_heads, split.num_kv_heads), block.k_norm);
  const at::Tensor v = take(split.num_heads + split.num_kv_heads, split.num_kv_heads);
  return {rotate(q, batch), rotate(k, batch), v};
}

// Puts the newest tokens behind what is held; a sliding layer first drops what no later query can
// see. `first`: attention does not read the cache, so no more than the window is stored.
void append(LayerCache& cache, const Heads& heads, bool first) {
  const int64_t capacity = cache.keys_KCN.size(1);
  int64_t tokens = heads.k_TKN.size(0), skip = 0;
  if (first && cache.window > 0 && tokens > cache.window) {
    skip = tokens - cache.window;
    tokens = cache.window;
  }
  if (cache.begin + cache.held + tokens > capacity) {
    const int64_t kept = std::min(cache.held, cache.window - 1);
    const int64_t from = cache.begin + cache.held - kept;
    for (const at::Tensor* buffer : {&cache.keys_KCN, &cache.values_KCN}) {
      buffer->narrow(1, 0, kept).copy_(buffer->narrow(1, from, kept).clone());
    }
    cache.begin = 0;
    cache.held = kept;
  }
  const int64_t at = cache.begin + cache.held;
  cache.keys_KCN.narrow(1, at, tokens).copy_(heads.k_TKN.narrow(0, skip, tokens).transpose(0, 1));
  cache.values_KCN.narrow(1, at, tokens).copy_(heads.v_TKN.narrow(0, skip, tokens).transpose(0, 1));
  cache.held += tokens;
}

// Attention of the newest T tokens over everything the cache holds. C cached positions, G query
// heads a key/value head.
at::Tensor attend_cached(const ModelSpec& spec, const LayerCache& cache, const at::Tensor& q_THN) {
  const int64_t tokens = q_THN.size(0), num_heads = q_THN.size(1), dim = spec.head_dim;
  const int64_t num_kv_heads = cache.keys_KCN.size(0), groups = num_heads / num_kv_heads;
  int64_t held = cache.held;
  if (cache.window > 0) held = std::min(held, cache.window - 1 + tokens);
  const int64_t from = cache.begin + cache.held - held;
  const at::Tensor keys_KCN = cache.keys_KCN.narrow(1, from, held);
  const at::Tensor values_KCN = cache.values_KCN.narrow(1, from, held);
  // [T, H, N] -> [K, G * T, N]: the queries of one key/value head side by side.
  const at::Tensor q_KGTN = q_THN.view({tokens, num_kv_heads, groups, dim})
                                .permute({1, 2, 0, 3})
                                .reshape({num_kv_heads, groups * tokens, dim});
  at::Tensor scores = at::matmul(q_KGTN, keys_KCN.transpose(1, 2)).to(at::kFloat);
  scores = scores.mul_(spec.attention_scale).view({num_kv_heads, groups, tokens, held});
  if (tokens > 1) {
    const auto options = at::TensorOptions().dtype(at::kLong).device(q_THN.device());
    const at::Tensor key_C = at::arange(held, options).unsqueeze(0);
    const at::Tensor query_T = at::arange(held - tokens, held, options).unsqueeze(1);
    at::Tensor hidden = key_C > query_T;
    if (cache.window > 0) hidden = at::logical_or(hidden, key_C <= query_T - cache.window);
    scores.masked_fill_(hidden, -std::numeric_limits<float>::infinity());
  }
  const at::Tensor weights = at::softmax(scores, -1).to(q_THN.scalar_type());
  return at::matmul(weights.view({num_kv_heads, groups * tokens, held}), values_KCN)
      .view({num_kv_heads, groups, tokens, dim})
      .permute({2, 0, 1, 3})
      .reshape({tokens, num_heads * dim});
}

Batch decode_batch(const Model& model, std::span<const int32_t> ids, int64_t first_position) {
  std::vector<int32_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(first_position));
  const std::vector<int32_t> cu_doc_lens = {0, static_cast<int32_t>(ids.size())};
  return make_batch(model, ids, positions, {}, cu_doc_lens, false);
}

// Feeds one piece and returns logits [1, V] of its last token, on every rank.
at::Tensor feed(const Model& model, std::span<const int32_t> ids, KvCache& cache) {
  const DecoderWeights& weights = *model.weights;
  const ModelSpec& spec = weights.spec;
  const Batch batch = decode_batch(model, ids, cache.length);
  const bool first = cache.length == 0;
  const HeadSplit& split = weights.share.alone;
  const auto run = [&](size_t stage, const at::Tensor& x_TD) {
    if (stage == 0) return embed_forward(weights, batch);
    const BlockWeights& block = weights.blocks[stage - 1];
    LayerCache& layer = cache.layers[stage - 1];
    const auto attend = [&](const at::Tensor& projected_TC) {
      const at::Tensor qkv_TC =
          exchange_to_heads(projected_TC, split, batch.token_parts, weights.share.groups.context);
      const Heads heads = take_heads(spec, split, block, qkv_TC, batch);
      append(layer, heads, first);
      if (!first) return attend_cached(spec, layer, heads.q_THN);
      return kernels::attention(qkv_TC, batch.cos_TN2, batch.sin_TN2, batch.cu_doc_lens,
                                attention_shape(spec, split, block), block.q_norm, block.k_norm,
                                spec.rms_norm_eps);
    };
    return block_forward(weights, block, x_TD, batch, {}, attend);
  };
  const at::Tensor x_TD = walk_stages(model, batch, run);
  cache.length += static_cast<int64_t>(ids.size());
  const at::Tensor last = at::full({1}, static_cast<int64_t>(ids.size()) - 1,
                                   at::TensorOptions().dtype(at::kLong).device(model.device));
  return logits_everywhere(model, batch, x_TD, last);
}

}  // namespace

std::shared_ptr<KvCache> make_kv_cache(const Model& model, int64_t max_length) {
  const ModelSpec& spec = model.spec;
  auto cache = std::make_shared<KvCache>();
  cache->max_length = max_length;
  const int64_t num_kv_heads = model.weights->share.alone.num_kv_heads;
  for (size_t i = 0; i < model.weights->blocks.size(); ++i) {
    LayerCache layer;
    if (!model.sharding.computes(static_cast<int64_t>(i) + 1)) {
      cache->layers.push_back(std::move(layer));
      continue;
    }
    const BlockWeights& block = model.weights->blocks[i];
    layer.window = block.sliding_window;
    // Room for two windows and a piece: keys move to the front once a window, not once a token.
    const int64_t capacity =
        layer.window > 0 ? std::min(max_length, 2 * layer.window + kChunk) : max_length;
    const auto options = at::TensorOptions().dtype(model.compute_dtype).device(model.device);
    layer.keys_KCN = at::empty({num_kv_heads, capacity, spec.head_dim}, options);
    layer.values_KCN = at::empty({num_kv_heads, capacity, spec.head_dim}, options);
    cache->layers.push_back(std::move(layer));
  }
  return cache;
}

at::Tensor decode_step(const Model& model, std::span<const int32_t> ids, KvCache& cache) {
  const at::NoGradGuard no_grad;
  const int64_t total = cache.length + static_cast<int64_t>(ids.size());
  if (ids.empty() || total > cache.max_length) {
    core::fail(core::ErrorKind::kBadInput,
               {.what = ids.empty() ? "nothing to decode" : "text is longer than the cache",
                .got = std::to_string(total) + " tokens",
                .expected = "1 to " + std::to_string(cache.max_length)});
  }
  at::Tensor last;  // logits of the newest token
  size_t begin = 0;
  if (cache.length == 0) {
    last = feed(model, ids, cache);
    begin = ids.size();
  }
  for (; begin < ids.size(); begin += kChunk) {
    const size_t count = std::min<size_t>(kChunk, ids.size() - begin);
    last = feed(model, ids.subspan(begin, count), cache);
  }
  return last.view({-1});
}

}  // namespace hone::models
