// hone merge: an adapter folded into its base, as a whole model.
#include "models/merge.h"

#include <cstdio>

#include "core/error.h"
#include "recipes/train/model_choice.h"
#include "recipes/train/verbs.h"

namespace hone::recipes {
namespace {

struct MergeArguments {
  ModelArguments model;
  std::string output, save_dtype;
};

int merge(const MergeArguments& a) {
  const ModelFolders folders = find_model(a.model);
  if (!folders.adapter) {
    core::fail(core::ErrorKind::kUsage,
               {.what = "not an adapter: it has no adapter_config.json", .where = a.model.model});
  }
  models::merge_adapter(folders.base, *folders.adapter, a.output, a.save_dtype);
  std::printf("%s\n", a.output.c_str());
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
  verb->callback([&chosen, a] { chosen = [a] { return merge(*a); }; });
}

}  // namespace hone::recipes
