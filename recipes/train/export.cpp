// hone export: a model as a GGUF file, reloaded and compared before it gets its name.
#include <cstdio>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "formats/gguf_export.h"
#include "formats/gguf_export_tokenizer.h"
#include "formats/gguf_import.h"
#include "models/merge.h"
#include "models/spec/gguf_spec.h"
#include "recipes/train/model_choice.h"
#include "recipes/train/proving.h"
#include "recipes/train/staging.h"
#include "recipes/train/verbs.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;

struct ExportArguments {
  ModelArguments model{.dtype = "float32"};
  ProofArguments proof;
  std::string format = "gguf", output, type = "F16", name;
};

// All that can be refused without reading weights.
void check_expressible(const ModelFolders& folders) {
  const models::ModelSpec spec = models::read_model_spec(folders.base);
  models::gguf_hyperparameters(spec, (folders.base / "config.json").string());
  formats::GgufKeys keys;
  std::vector<std::string> notes;
  formats::add_gguf_tokenizer(folders.tokenizer, spec.vocab_size, keys, notes);
}

// The folder of a whole model in float32 tensors or as it is: an adapter is merged first.
fs::path whole_model(const ModelFolders& folders, const Staging& staging) {
  if (!folders.adapter) return folders.base;
  models::merge_adapter(folders.base, *folders.adapter, staging / "merged", "float32");
  return staging / "merged";
}

trainer::Proof prove(const fs::path& gguf, const Staging& staging,
                     const trainer::ProofLogits& reference, const trainer::ProofRows& rows,
                     const data::Tokenizer& tokenizer, const ExportArguments& a, double max_kl) {
  const fs::path folder = staging / "reloaded";
  formats::import_gguf(gguf, folder);
  require_same_tokens(tokenizer, data::Tokenizer::load(folder), a.output);
  const models::Model artefact = load_for_inference({.base = folder, .tokenizer = folder}, a.model);
  return trainer::compare_with(reference, artefact, rows, max_kl);
}

void write_card(const ExportArguments& a, const formats::GgufExportResult& result,
                const std::string& type, const trainer::Proof& proof) {
  formats::ModelCard card;
  card.model_id = a.name;
  card.summary = "A GGUF file (" + type + ") of " + a.model.model +
                 " for llama.cpp: " + core::format_count(result.num_parameters) + " parameters, " +
                 core::format_bytes(static_cast<double>(result.file_bytes)) + ".";
  card.is_gguf = true;
  card.base_model = a.model.model;
  card.proofs = {card_proof(fs::path(a.output).filename().string(), proof)};
  card.versions = {{"hone", version_text()}};
  core::write_file_atomic(a.output + ".md", formats::model_card_markdown(card));
}

void print(const ExportArguments& a, const formats::GgufExportResult& result,
           const trainer::Proof& proof) {
  std::string types;
  for (const auto& [type, count] : result.tensors_by_type) {
    types += (types.empty() ? "" : ", ") + std::to_string(count) + " " + type;
  }
  for (const std::string& note : result.notes) std::fprintf(stderr, "note: %s\n", note.c_str());
  std::printf("%s: %s, tensors %s\nproved: %s\n", a.output.c_str(),
              core::format_bytes(static_cast<double>(result.file_bytes)).c_str(), types.c_str(),
              trainer::proof_text(proof).c_str());
}

int export_model(ExportArguments a) {
  const formats::GgufFileType* type = formats::find_gguf_file_type(a.type);
  if (type == nullptr) {
    core::fail(
        core::ErrorKind::kUsage,
        {.what = "unknown --type", .got = a.type, .expected = formats::known_gguf_file_types()});
  }
  const ModelFolders folders = find_model(a.model);
  check_expressible(folders);
  if (a.name.empty()) a.name = fs::path(a.output).stem().string();
  const Staging staging(a.output);
  const data::Tokenizer tokenizer = data::Tokenizer::load(folders.tokenizer);
  const fs::path run = folders.adapter.value_or(folders.base);
  const trainer::ProofRows rows = choose_proof_rows(a.proof, run, folders.tokenizer);
  const trainer::ProofLogits reference =
      trainer::proof_logits(load_for_inference(folders, a.model), rows);
  const fs::path whole = whole_model(folders, staging);
  const auto hyperparameters = models::gguf_hyperparameters(
      models::read_model_spec(whole), (folders.base / "config.json").string());
  const fs::path gguf = staging / "model.gguf";
  const formats::GgufExportResult result =
      formats::export_gguf(whole, hyperparameters, gguf, {.type = type->name, .name = a.name});
  const trainer::Proof proof =
      prove(gguf, staging, reference, rows, tokenizer, a, bound_of(a.proof, type->name));
  trainer::require_proof(proof, a.output);
  staging.publish(gguf);
  write_card(a, result, type->name, proof);
  core::Json record = trainer::proof_json(proof);
  record["type"] = type->name;
  record_in_run(run, "export", record);
  print(a, result, proof);
  return 0;
}

}  // namespace

void add_export(CLI::App& app, Action& chosen) {
  auto a = std::make_shared<ExportArguments>();
  CLI::App* verb = app.add_subcommand("export", "Write a model as a GGUF file for llama.cpp");
  verb->add_option("model", a->model.model, "Folder, ID or ID@REVISION of a model or an adapter")
      ->required();
  verb->add_option("--format", a->format, "gguf")->check(CLI::IsMember({"gguf"}));
  verb->add_option("--output", a->output, "File to write")->required();
  verb->add_option("--type", a->type, "F32, F16, BF16, Q8_0, Q4_0 or Q4_K_M")
      ->capture_default_str();
  verb->add_option("--name", a->name, "Name of the model inside the file; default: the file's");
  verb->add_option("--base", a->model.base, "Base model, instead of the one the adapter names");
  add_proof_options(*verb, a->proof);
  verb->callback([&chosen, a] { chosen = [a] { return export_model(*a); }; });
}

}  // namespace hone::recipes
