#include <cstdio>
#include <filesystem>

#include "core/error.h"
#include "core/files.h"
#include "core/temporary_folder.h"
#include "core/text.h"
#include "formats/gguf_import.h"
#include "hub/push.h"
#include "recipes/verbs.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;

struct ImportArguments {
  std::string file, id, dtype, endpoint;
};

std::string model_card(const formats::GgufImportResult& model, const std::string& file_name) {
  std::string text = "---\nlibrary_name: transformers\n";
  if (!model.license.empty()) text += "license: " + model.license + "\n";
  if (!model.languages.empty()) text += "language: [" + core::join(model.languages, ", ") + "]\n";
  text += "---\n\n# " + (model.name.empty() ? std::string("Imported model") : model.name) + "\n\n";
  text += "Imported by `hone import` from the GGUF file `" + file_name + "` (tensor types " +
          core::join(model.tensor_types, ", ") + "), stored as " + model.dtype +
          ": quantised values are kept as they are.\n\n";
  text += "- architecture: " + model.architecture +
          "\n- parameters: " + core::format_count(model.num_parameters) + "\n";
  if (!model.organization.empty()) text += "- made by: " + model.organization + "\n";
  return text;
}

int import_file(const ImportArguments& a) {
  hub::check_repo_id(a.id);
  hub::LocalStore store = hub::LocalStore::at_endpoint(a.endpoint);
  // Inside the store's root, so that large files need not cross file systems.
  const core::TemporaryFolder staging(store.root() / "tmp", "import-");
  const fs::path folder = staging.path() / "model";
  const auto model = formats::import_gguf(a.file, folder, {.dtype = a.dtype});
  const std::string file_name = fs::path(a.file).filename().string();
  core::write_file_atomic(folder / "README.md", model_card(model, file_name));
  const hub::PushResult pushed =
      hub::push_folder(store, a.id, folder, {.message = "Import " + file_name});
  std::printf("%s is %s@%s: %s, %s parameters, %s\n", a.file.c_str(), a.id.c_str(),
              pushed.commit.substr(0, 12).c_str(), model.architecture.c_str(),
              core::format_count(model.num_parameters).c_str(), model.dtype.c_str());
  return 0;
}

}  // namespace

void add_import(CLI::App& app, Action& chosen) {
  auto a = std::make_shared<ImportArguments>();
  CLI::App* verb = app.add_subcommand("import", "Bring a GGUF file into the local hub");
  verb->add_option("file", a->file, "GGUF file")->required();
  verb->add_option("id", a->id, "Repository to make, owner/name")->required();
  verb->add_option("--dtype", a->dtype,
                   "float32, bfloat16 or float16; default: the narrowest that is exact")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}));
  verb->add_option("--endpoint", a->endpoint, "Folder of a local store instead of the default one");
  verb->callback([&chosen, a] { chosen = [a] { return import_file(*a); }; });
}

}  // namespace hone::recipes
