// hone merge: an adapter folded into its base, as a whole model that is reloaded and compared
// before it gets its name.
#include "models/merge.h"

#include <cstdio>

#include "core/error.h"
#include "core/files.h"
#include "recipes/train/model_choice.h"
#include "recipes/train/proving.h"
#include "recipes/train/staging.h"
#include "recipes/train/verbs.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;

struct MergeArguments {
  ModelArguments model{.dtype = "float32"};
  ProofArguments proof;
  std::string output, save_dtype;
};

void write_card(const MergeArguments& a, const ModelFolders& folders, const fs::path& merged,
                const trainer::Proof& proof) {
  const models::AdapterOptions adapter = models::read_adapter_config(*folders.adapter);
  formats::ModelCard card;
  card.model_id = fs::path(a.output).lexically_normal().filename().string();
  card.summary = "The adapter " + a.model.model + " folded into its base model.";
  card.base_model = a.model.base.empty() ? adapter.base_model_name_or_path : a.model.base;
  card.base_model_revision = a.model.base.empty() ? adapter.base_model_revision : "";
  card.proofs = {card_proof("the merged model", proof)};
  card.versions = {{"hone", version_text()}};
  core::write_file_atomic(merged / "README.md", formats::model_card_markdown(card));
}

int merge(const MergeArguments& a) {
  const ModelFolders folders = find_model(a.model);
  if (!folders.adapter) {
    core::fail(core::ErrorKind::kUsage,
               {.what = "not an adapter: it has no adapter_config.json", .where = a.model.model});
  }
  const Staging staging(a.output);
  const fs::path merged = staging / "model";
  models::merge_adapter(folders.base, *folders.adapter, merged, a.save_dtype);
  const trainer::ProofRows rows = choose_proof_rows(a.proof, *folders.adapter, folders.tokenizer);
  const trainer::ProofLogits reference =
      trainer::proof_logits(load_for_inference(folders, a.model), rows);
  const models::Model artefact = load_for_inference({.base = merged, .tokenizer = merged}, a.model);
  const trainer::Proof proof =
      trainer::compare_with(reference, artefact, rows, bound_of(a.proof, stored_type(merged)));
  trainer::require_proof(proof, a.output);
  write_card(a, folders, merged, proof);
  staging.publish(merged);
  record_in_run(*folders.adapter, "merge", trainer::proof_json(proof));
  std::printf("%s\nproved: %s\n", a.output.c_str(), trainer::proof_text(proof).c_str());
  return 0;
}

}  // namespace

void add_merge(CLI::App& app, Action& chosen) {
  auto a = std::make_shared<MergeArguments>();
  CLI::App* verb = app.add_subcommand("merge", "Merge an adapter into its base model");
  verb->add_option("adapter", a->model.model, "Folder, ID or ID@REVISION of the adapter")
      ->required();
  verb->add_option("--output", a->output, "New or empty folder for the whole model")->required();
  verb->add_option("--base", a->model.base, "Base model, instead of the one the adapter names");
  verb->add_option("--save-dtype", a->save_dtype,
                   "float32, bfloat16 or float16; default: as in the base")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}));
  add_proof_options(*verb, a->proof);
  verb->callback([&chosen, a] { chosen = [a] { return merge(*a); }; });
}

}  // namespace hone::recipes
