#include "recipes/train/model_choice.h"

#include "core/error.h"
#include "hub/resolve.h"
#include "kernels/allocator.h"
#include "recipes/hub_access.h"
#include "recipes/train/dtype_choice.h"

namespace hone::recipes {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const std::string& name) {
  if (fs::is_directory(name)) return name;
  const hub::IdAndRevision id = hub::split_revision(name);
  return hub::resolve_model(id.id, id.revision, hub_access("")).folder;
}

bool is_adapter(const fs::path& folder) { return fs::exists(folder / "adapter_config.json"); }

fs::path base_of(const fs::path& adapter, const std::string& named) {
  if (!named.empty()) return folder_of(named);
  const models::AdapterOptions options = models::read_adapter_config(adapter);
  if (options.base_model_name_or_path.empty()) {
    core::fail(core::ErrorKind::kMissingInput,
               {.what = "the adapter does not say what its base model is",
                .where = (adapter / "adapter_config.json").string(),
                .hint = "name it with --base"});
  }
  return hub::resolve_model(options.base_model_name_or_path, options.base_model_revision,
                            hub_access(""))
      .folder;
}

}  // namespace

void add_model_options(CLI::App& verb, ModelArguments& arguments) {
  verb.add_option("--adapter", arguments.adapter, "Adapter to put on MODEL");
  verb.add_option("--base", arguments.base,
                  "Base of an adapter MODEL, instead of the one it names");
  verb.add_option("--dtype", arguments.dtype, "auto, float32 or bfloat16")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16"}));
  verb.add_option("--device", arguments.device, "auto, cpu or cuda")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
}

ModelFolders find_model(const ModelArguments& arguments) {
  const fs::path model = folder_of(arguments.model);
  ModelFolders folders{.base = model, .tokenizer = model};
  if (!arguments.adapter.empty()) {
    folders.adapter = folder_of(arguments.adapter);
  } else if (is_adapter(model)) {
    folders.adapter = model;
    folders.base = base_of(model, arguments.base);
  }
  const bool brings_tokenizer = folders.adapter && fs::exists(*folders.adapter / "tokenizer.json");
  folders.tokenizer = brings_tokenizer ? *folders.adapter : folders.base;
  return folders;
}

models::Model load_for_inference(const ModelFolders& folders, const ModelArguments& arguments,
                                 const RankShare& share) {
  kernels::install_caching_allocator();
  const at::Device device = choose_device(arguments.device);
  const std::string dtype = arguments.dtype != "auto" ? arguments.dtype
                            : device.is_cuda()        ? "bfloat16"
                                                      : "float32";
  models::LoadOptions options{.compute_dtype = choose_dtype(dtype, device).type,
                              .device = device,
                              .sharding = share.sharding,
                              .groups = share.groups};
  if (folders.adapter) options.adapter_path = *folders.adapter;
  return models::load_model(folders.base, options);
}

}  // namespace hone::recipes
