// Inference with a key/value cache.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "models/model.h"

namespace hone::models {

struct KvCache;  // keys and values of every layer for one sequence; sliding layers keep their
                 // window only

std::shared_ptr<KvCache> make_kv_cache(const Model& model, int64_t max_length);

// Feeds `ids` after what the cache holds and returns float32 logits [V] of the last one.
at::Tensor decode_step(const Model& model, std::span<const int32_t> ids, KvCache& cache);

}  // namespace hone::models
