// Inference with a key/value cache.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "models/model.h"

namespace hone::models {

// Keys and values of every layer for one sequence; sliding layers keep little more than their
// window.
struct KvCache;

// Throws nothing but what allocation throws; `max_length` tokens are the most it takes.
std::shared_ptr<KvCache> make_kv_cache(const Model& model, int64_t max_length);

// Feeds `ids` after what the cache holds and returns float32 logits [V] of the last one. Equal to
// the training forward up to rounding. Collective over the tensor and pipeline axes of the model,
// with the same ids. Throws kBadInput when `ids` is empty or the cache is full.
at::Tensor decode_step(const Model& model, std::span<const int32_t> ids, KvCache& cache);

}  // namespace hone::models
