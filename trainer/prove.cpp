#include "trainer/prove.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "models/stage_walk.h"

namespace hone::trainer {
namespace {

at::Tensor document_logits(const models::Model& model, const std::vector<int32_t>& ids) {
  std::vector<int32_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<int32_t> lengths = {0, static_cast<int32_t>(ids.size())};
  const models::Batch batch = models::make_batch(model, ids, positions, {}, lengths, false);
  const at::Tensor x_TD =
      models::walk_stages(model, batch, [&](size_t stage, const at::Tensor& input_TD) {
        return model.stages[stage].forward(input_TD, batch, {});
      });
  return models::logits_everywhere(model, batch, x_TD, {}).to(at::kCPU, at::kFloat);
}

// Sums over the tokens of the documents.
struct Sums {
  double max_difference = 0, squared_difference = 0, kl = 0, model_loss = 0, artefact_loss = 0;
  int64_t num_logits = 0, num_tokens = 0, num_targets = 0, num_same = 0;
};

double target_loss(const at::Tensor& log_probs_TV, const at::Tensor& targets_T) {
  return -log_probs_TV.gather(1, targets_T.unsqueeze(1)).sum().item<double>();
}

// Rows of logits of one piece of a document; `targets_T` are the ids that follow (one fewer at the
// document's end).
void add_piece(const at::Tensor& model_TV, const at::Tensor& artefact_TV,
               const at::Tensor& targets_T, Sums& sums) {
  const at::Tensor x = model_TV.to(at::kDouble), y = artefact_TV.to(at::kDouble);
  const at::Tensor difference = y - x;
  sums.max_difference = std::max(sums.max_difference, difference.abs().max().item<double>());
  sums.squared_difference += difference.square().sum().item<double>();
  const at::Tensor p = at::log_softmax(x, 1), q = at::log_softmax(y, 1);
  sums.kl += (p.exp() * (p - q)).sum().item<double>();
  sums.num_same += x.argmax(1).eq(y.argmax(1)).sum().item<int64_t>();
  sums.num_logits += x.numel();
  sums.num_tokens += x.size(0);
  const int64_t num_targets = targets_T.numel();
  sums.model_loss += target_loss(p.narrow(0, 0, num_targets), targets_T);
  sums.artefact_loss += target_loss(q.narrow(0, 0, num_targets), targets_T);
  sums.num_targets += num_targets;
}

void add_document(const at::Tensor& model_TV, const at::Tensor& artefact_TV,
                  const std::vector<int32_t>& ids, Sums& sums) {
  constexpr int64_t kPiece = 32;  // tokens in float64 at a time
  const std::vector<int64_t> targets(ids.begin() + 1, ids.end());
  const at::Tensor targets_T = at::tensor(targets, at::kLong);
  const auto num_tokens = static_cast<int64_t>(ids.size());
  for (int64_t first = 0; first < num_tokens; first += kPiece) {
    const int64_t size = std::min(kPiece, num_tokens - first);
    const int64_t num_targets = std::min(size, num_tokens - 1 - first);
    add_piece(model_TV.narrow(0, first, size), artefact_TV.narrow(0, first, size),
              targets_T.narrow(0, first, num_targets), sums);
  }
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", value);
  return text;
}

}  // namespace

ProofRows proof_rows(const data::TokenCache& cache, const std::string& source) {
  ProofRows rows{.source = source, .documents = {}};
  const int64_t num_rows = cache.num_rows();
  const int64_t stride = std::max<int64_t>(1, num_rows / kMaxProofRows);
  for (int64_t i = 0; i < num_rows; i += stride) {
    const auto ids = cache.row(i).ids;
    const size_t size = std::min(ids.size(), static_cast<size_t>(kMaxProofTokens));
    if (size >= 2) rows.documents.emplace_back(ids.begin(), ids.begin() + size);
    if (static_cast<int64_t>(rows.documents.size()) == kMaxProofRows) break;
  }
  return rows;
}

ProofLogits proof_logits(const models::Model& model, const ProofRows& rows) {
  const at::NoGradGuard no_grad;
  ProofLogits logits;
  for (const std::vector<int32_t>& ids : rows.documents) {
    logits.push_back(document_logits(model, ids));
  }
  return logits;
}

Proof compare_with(const ProofLogits& reference, const models::Model& artefact,
                   const ProofRows& rows, double max_kl) {
  const at::NoGradGuard no_grad;
  Sums sums;
  for (size_t i = 0; i < rows.documents.size(); ++i) {
    const at::Tensor logits = document_logits(artefact, rows.documents[i]);
    if (logits.sizes() != reference.at(i).sizes()) {
      core::fail(core::ErrorKind::kBadInput,
                 {.what = "the artefact has another vocabulary than the model",
                  .got = std::to_string(logits.size(1)),
                  .expected = std::to_string(reference[i].size(1))});
    }
    add_document(reference[i], logits, rows.documents[i], sums);
  }
  if (sums.num_targets == 0) {
    core::fail(core::ErrorKind::kBadInput, {.what = "there are no rows to compare logits on"});
  }
  const auto tokens = static_cast<double>(sums.num_tokens);
  const auto targets = static_cast<double>(sums.num_targets);
  return {
      .source = rows.source,
      .num_rows = static_cast<int64_t>(rows.documents.size()),
      .num_tokens = sums.num_tokens,
      .max_difference = sums.max_difference,
      .rms_difference = std::sqrt(sums.squared_difference / static_cast<double>(sums.num_logits)),
      .kl = sums.kl / tokens,
      .top1 = static_cast<double>(sums.num_same) / tokens,
      .model_loss = sums.model_loss / targets,
      .artefact_loss = sums.artefact_loss / targets,
      .max_kl = max_kl};
}

double default_max_kl(const std::string& type) {
  struct Bound {
    const char* type;
    double max_kl;
  };
  constexpr std::array<Bound, 6> kBounds{{{"F32", 1e-5},
                                          {"F16", 1e-4},
                                          {"BF16", 1e-3},
                                          {"Q8_0", 1e-2},
                                          {"Q4_0", 2.0},
                                          {"Q4_K_M", 0.5}}};
  for (const Bound& bound : kBounds) {
    if (type == bound.type) return bound.max_kl;
  }
  core::fail(core::ErrorKind::kInternal, {.what = "no bound for type " + type});
}

core::Json proof_json(const Proof& proof) {
  return {{"rows", proof.source},
          {"num_rows", proof.num_rows},
          {"num_tokens", proof.num_tokens},
          {"max_logit_difference", proof.max_difference},
          {"rms_logit_difference", proof.rms_difference},
          {"kl", proof.kl},
          {"max_kl", proof.max_kl},
          {"top1_agreement", proof.top1},
          {"loss", proof.model_loss},
          {"artefact_loss", proof.artefact_loss},
          {"holds", proof.holds()}};
}

std::string proof_text(const Proof& proof) {
  char top1[32];
  std::snprintf(top1, sizeof top1, "%.2f %%", 100 * proof.top1);
  return "KL " + short_number(proof.kl) + " nats a token (bound " + short_number(proof.max_kl) +
         "), logits differ by " + short_number(proof.max_difference) + " at most and " +
         short_number(proof.rms_difference) + " rms, same first choice " + top1 + ", loss " +
         short_number(proof.artefact_loss - proof.model_loss) + " over " +
         std::to_string(proof.num_tokens) + " tokens of " + proof.source;
}

void require_proof(const Proof& proof, const std::string& artefact) {
  if (proof.holds()) return;
  core::fail(core::ErrorKind::kNumerical,
             {.what = "what was written is not what the model computes: " + proof_text(proof),
              .where = artefact,
              .got = "KL " + short_number(proof.kl),
              .expected = "at most " + short_number(proof.max_kl),
              .hint = "a wider type, or a larger bound if this loss is meant"});
}

}  // namespace hone::trainer
