// Whether what was written is what was trained: a reloaded artefact's logits beside the model's.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/dataset.h"
#include "models/model.h"

namespace hone::trainer {

// A few short documents, so that a proof costs a few forward passes of one document at a time.
inline constexpr int64_t kMaxProofRows = 4;
inline constexpr int64_t kMaxProofTokens = 128;  // of a row

struct ProofRows {
  std::string source;  // "held-out rows", for people
  std::vector<std::vector<int32_t>> documents;
};

// Rows spread over the cache, cut to kMaxProofTokens.
ProofRows proof_rows(const data::TokenCache& cache, const std::string& source);

// float32 [T, V] on the CPU for each document. Collective over the tensor and pipeline axes of the
// model.
using ProofLogits = std::vector<at::Tensor>;
ProofLogits proof_logits(const models::Model& model, const ProofRows& rows);

struct Proof {
  std::string source;
  int64_t num_rows = 0, num_tokens = 0;
  double max_difference = 0, rms_difference = 0;  // of logits
  double kl = 0;                             // mean over tokens of KL(model || artefact), in nats
  double top1 = 0;                           // share of tokens whose largest logit is the same
  double model_loss = 0, artefact_loss = 0;  // next token, in nats
  double max_kl = 0;
  bool holds() const { return kl <= max_kl; }  // not for NaN
};

// `reference` are the model's logits of the same rows. Throws kBadInput when the vocabularies
// differ.
Proof compare_with(const ProofLogits& reference, const models::Model& artefact,
                   const ProofRows& rows, double max_kl);

// The bound for a file whose weights have this type ("F32", "BF16", "F16", "Q8_0", "Q4_0",
// "Q4_K_M"): at least five times the divergence that docs/export.md measured on SmolLM2-135M, whose
// 30 narrow blocks lose more to rounding than larger models do; float types have more room.
double default_max_kl(const std::string& type);

core::Json proof_json(const Proof& proof);
// "KL 1.2e-06 nats a token (bound 1e-03), largest logit difference 0.012, ..."
std::string proof_text(const Proof& proof);
// Throws kNumerical naming the artefact when the proof does not hold.
void require_proof(const Proof& proof, const std::string& artefact);

}  // namespace hone::trainer
