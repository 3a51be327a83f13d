// The rows, bounds and records of proofs (trainer/prove.h), for the verbs that write models.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/tokenizer.h"
#include "formats/model_card.h"
#include "recipes/inputs.h"
#include "recipes/recipe.h"
#include "recipes/train/dtype_choice.h"
#include "trainer/prove.h"

namespace hone::recipes {

struct ProofArguments {
  data::DatasetSource source;  // --data, --data-format; no path: rows are found
  double max_kl = 0;           // 0: trainer::default_max_kl
};
void add_proof_options(CLI::App& verb, ProofArguments& arguments);

// Of `model_folder`: the rows of --data; else the held-out rows, or the training rows, of the run
// that made it (run.json) where they are still there; else texts of ours in several languages, or,
// where `tokenizer_folder` has no tokenizer.json, made-up token ids.
trainer::ProofRows choose_proof_rows(const ProofArguments& arguments,
                                     const std::filesystem::path& model_folder,
                                     const std::filesystem::path& tokenizer_folder);

double bound_of(const ProofArguments& arguments, const std::string& type);

// What the trained model makes of some rows, held-out ones where there are any. Collective over its
// tensor and pipeline axes.
struct TrainedLogits {
  trainer::ProofRows rows;
  trainer::ProofLogits logits;
};
TrainedLogits trained_logits(const models::Model& model, const PreparedData& data);

// Reads the final model of a finished run back and compares it with what the trained one made,
// which is not needed any more: one model is in memory at a time.
trainer::Proof prove_run(const TrainedLogits& trained, const Recipe& recipe,
                         const ResolvedInputs& inputs, const DtypeChoice& dtype, at::Device device);

// Throws kBadInput when two tokenizers give other ids for our texts.
void require_same_tokens(const data::Tokenizer& model, const data::Tokenizer& artefact,
                         const std::string& where);

// "F32", "BF16" or "F16": the least exact dtype of the matrices of a model's or adapter's folder.
std::string stored_type(const std::filesystem::path& model_folder);

formats::ModelCardProof card_proof(const std::string& artefact, const trainer::Proof& proof);

// Adds to the run.json of a run folder; does nothing for other folders.
void record_in_run(const std::filesystem::path& folder, const std::string& key,
                   const core::Json& value);

}  // namespace hone::recipes
