#include "recipes/train/proving.h"

#include <spdlog/spdlog.h>

#include <array>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "data/row_format.h"
#include "formats/weight_files.h"
#include "models/file_tensors.h"
#include "models/load.h"
#include "recipes/yaml_value.h"

namespace hone::recipes {
namespace fs = std::filesystem;
namespace {

// Precomposed characters only, so that every tokenizer reads them the same with and without NFC.
constexpr std::array kTexts{
    "The package contains an editor for plain text files. It opens several files at once, keeps an "
    "undo history for each of them, and can be driven from the keyboard alone.",
    "def mean(values):\n    \"\"\"Arithmetic mean.\"\"\"\n    total = 0.0\n    for i, v in "
    "enumerate(values):\n        total += v\n    return total / (i + 1)\n\nprint(mean([1, 2, "
    "34.5]))",
    "Übermorgen fährt der Zug um 17:45 Uhr nach Köln; ça marche très bien, señor. Это простой "
    "текст. 今日は良い天気です。",
    "Q: What is 127 + 305?\nA: 127 + 305 = 432.\n\n| name | size |\n|---|---:|\n| a.txt | 1,024 "
    "|\n\n  - it's done, isn't it?\t(100 %)"};

trainer::ProofRows rows_of_texts(const data::Tokenizer& tokenizer) {
  trainer::ProofRows rows{.source = "built-in texts", .documents = {}};
  for (const char* text : kTexts) {
    std::vector<int32_t> ids = tokenizer.encode(text, true).ids;
    ids.resize(std::min(ids.size(), static_cast<size_t>(trainer::kMaxProofTokens)));
    rows.documents.push_back(std::move(ids));
  }
  return rows;
}

// Small ids, which every vocabulary has.
trainer::ProofRows made_up_rows() {
  trainer::ProofRows rows{.source = "made-up token ids", .documents = {}};
  uint32_t state = 1;
  for (int64_t row = 0; row < trainer::kMaxProofRows; ++row) {
    std::vector<int32_t>& ids = rows.documents.emplace_back();
    for (int64_t i = 0; i < trainer::kMaxProofTokens; ++i) {
      state = state * 1664525 + 1013904223;  // Numerical Recipes' generator
      ids.push_back(static_cast<int32_t>(state >> 16) % 100);
    }
  }
  return rows;
}

trainer::ProofRows rows_of_file(const data::DatasetSource& source,
                                const data::Tokenizer& tokenizer) {
  const data::DatasetOptions options{.completion_only_loss = false,
                                     .on_bad_row = data::BadRowPolicy::kSkip};
  return trainer::proof_rows(
      data::prepare_dataset({source}, options, tokenizer, token_cache_root()),
      "rows of " + source.path.filename().string());
}

// nullopt when the folder is of no run, or its data is no longer there.
std::optional<trainer::ProofRows> rows_of_run(const fs::path& folder,
                                              const data::Tokenizer& tokenizer) {
  const fs::path path = folder / "run.json";
  if (!fs::exists(path)) return std::nullopt;
  try {
    const core::Json run = core::read_json_file(path);
    const Recipe recipe =
        parse_recipe(dump_yaml(run.at("recipe")), path.string(), {.num_ranks = kAnyRanks});
    const PreparedData data = prepare_data(recipe, tokenizer);
    if (data.eval) return trainer::proof_rows(*data.eval, "held-out rows of the run");
    return trainer::proof_rows(data.train, "training rows of the run");
  } catch (const std::exception& error) {
    spdlog::info("the rows of {} can't be had: {}", path.string(), error.what());
    return std::nullopt;
  }
}

template <typename Tensors>
std::string least_exact(const Tensors& tensors) {
  std::string type = "F32";
  for (const auto& tensor : tensors) {
    if (tensor.shape.size() < 2) continue;
    if (tensor.dtype == formats::Dtype::kBF16) return "BF16";
    if (tensor.dtype == formats::Dtype::kF16) type = "F16";
  }
  return type;
}

}  // namespace

void add_proof_options(CLI::App& verb, ProofArguments& arguments) {
  verb.add_option("--data", arguments.source.path,
                  "Rows to compare logits on; default: the run's held-out rows, else built-in "
                  "texts");
  verb.add_option("--data-format", arguments.source.format,
                  "Of --data: messages, sharegpt, alpaca, prompt_completion or text")
      ->transform(CLI::CheckedTransformer(data::row_formats()));
  verb.add_option("--max-kl", arguments.max_kl,
                  "Largest KL divergence from the model, in nats a token; default: by type")
      ->check(CLI::PositiveNumber);
}

trainer::ProofRows choose_proof_rows(const ProofArguments& arguments, const fs::path& model_folder,
                                     const fs::path& tokenizer_folder) {
  const bool has_tokenizer = fs::exists(tokenizer_folder / "tokenizer.json");
  if (!has_tokenizer && arguments.source.path.empty()) return made_up_rows();
  const data::Tokenizer tokenizer = data::Tokenizer::load(tokenizer_folder);
  if (!arguments.source.path.empty()) {
    if (!fs::exists(arguments.source.path)) {
      core::fail(core::ErrorKind::kMissingInput,
                 {.what = "no such data file or folder", .where = arguments.source.path.string()});
    }
    data::DatasetSource source = arguments.source;
    source.where = "--data";
    return rows_of_file(source, tokenizer);
  }
  if (auto rows = rows_of_run(model_folder, tokenizer)) return *rows;
  return rows_of_texts(tokenizer);
}

double bound_of(const ProofArguments& arguments, const std::string& type) {
  return arguments.max_kl > 0 ? arguments.max_kl : trainer::default_max_kl(type);
}

void require_same_tokens(const data::Tokenizer& model, const data::Tokenizer& artefact,
                         const std::string& where) {
  for (const char* text : kTexts) {
    if (model.encode(text, true).ids == artefact.encode(text, true).ids) continue;
    core::fail(core::ErrorKind::kBadInput,
               {.what = "the written tokenizer splits text in another way than the model's",
                .where = where,
                .got = core::excerpt(text)});
  }
}

std::string stored_type(const fs::path& model_folder) {
  if (fs::exists(model_folder / "adapter_model.safetensors")) {
    return least_exact(models::open_adapter_file(model_folder).tensors());
  }
  return least_exact(formats::open_weight_files(model_folder).tensors());
}

TrainedLogits trained_logits(const models::Model& model, const PreparedData& data) {
  TrainedLogits trained;
  if (data.eval) trained.rows = trainer::proof_rows(*data.eval, "held-out rows");
  if (trained.rows.documents.empty())
    trained.rows = trainer::proof_rows(data.train, "training rows");
  trained.logits = trainer::proof_logits(model, trained.rows);
  return trained;
}

trainer::Proof prove_run(const TrainedLogits& trained, const Recipe& recipe,
                         const ResolvedInputs& inputs, const DtypeChoice& dtype,
                         at::Device device) {
  models::LoadOptions options{.compute_dtype = dtype.type, .device = device};
  const fs::path& output = recipe.train.output_dir;
  if (recipe.trains_adapter()) options.adapter_path = output;
  const models::Model artefact =
      models::load_model(recipe.trains_adapter() ? inputs.model.folder : output, options);
  const double max_kl =
      recipe.max_kl > 0 ? recipe.max_kl : trainer::default_max_kl(stored_type(output));
  const trainer::Proof proof =
      trainer::compare_with(trained.logits, artefact, trained.rows, max_kl);
  record_in_run(output, "proof", trainer::proof_json(proof));
  return proof;
}

formats::ModelCardProof card_proof(const std::string& artefact, const trainer::Proof& proof) {
  return {.artefact = artefact,
          .rows = std::to_string(proof.num_rows) + " " + proof.source,
          .num_tokens = proof.num_tokens,
          .max_difference = proof.max_difference,
          .rms_difference = proof.rms_difference,
          .kl = proof.kl,
          .max_kl = proof.max_kl,
          .top1 = proof.top1,
          .loss_difference = proof.artefact_loss - proof.model_loss,
          .holds = proof.holds()};
}

void record_in_run(const fs::path& folder, const std::string& key, const core::Json& value) {
  const fs::path path = folder / "run.json";
  if (!fs::exists(path)) return;
  core::Json run = core::read_json_file(path);
  run[key] = value;
  core::write_file_atomic(path, core::dump_json(run));
}

}  // namespace hone::recipes
