#include "recipes/train/training_model.h"

#include "core/error.h"
#include "recipes/pipeline_plan.h"
#include "trainer/gather.h"

namespace hone::recipes {
namespace {

using core::ErrorKind;

// Of products and of attention whose transfers are overlapped. Left to wait for is the first
// chunk's way there and the last one's way back, a quarter; more chunks are smaller kernels.
constexpr int64_t kRowChunks = 4, kHeadChunks = 4;

models::LoadOptions load_options(const Recipe& recipe, const ResolvedInputs& inputs,
                                 const DtypeChoice& dtype, at::Device device) {
  models::LoadOptions options{.compute_dtype = dtype.type,
                              .device = device,
                              .train_base = !recipe.trains_adapter(),
                              .adapter = recipe.adapter,
                              .seed = recipe.train.seed};
  options.adapter.base_model_name_or_path = recipe.model_name_or_path;
  options.adapter.base_model_revision = recipe.model_revision;
  if (inputs.adapter) options.adapter_path = inputs.adapter->folder;
  return options;
}

}  // namespace

void check_vocabulary(const data::Tokenizer& tokenizer, const models::ModelSpec& spec,
                      const ResolvedInputs& inputs) {
  if (tokenizer.vocab_size() <= spec.vocab_size) return;
  core::fail(ErrorKind::kBadInput,
             {.what = "the tokenizer has more tokens than the model",
              .where = inputs.tokenizer_folder.string(),
              .got = std::to_string(tokenizer.vocab_size()),
              .expected = "at most vocab_size " + std::to_string(spec.vocab_size)});
}

models::Sharding training_sharding(const Recipe& recipe, const models::ModelSpec& spec,
                                   const parallel::Mesh& mesh) {
  models::Sharding sharding = trainer::sharding_of(mesh, recipe.parallel.shard_level);
  if (mesh.layout.pp > 1) sharding.pipeline = pipeline_of(recipe, spec);
  return sharding;
}

models::Model load_to_train(const Recipe& recipe, const ResolvedInputs& inputs,
                            const DtypeChoice& dtype, at::Device device,
                            const parallel::Mesh* mesh) {
  models::LoadOptions options = load_options(recipe, inputs, dtype, device);
  if (mesh != nullptr) {
    options.sharding =
        training_sharding(recipe, models::read_model_spec(inputs.model.folder), *mesh);
    options.groups = trainer::compute_groups(*mesh);
    // Over MPI nothing moves while this rank computes: chunks would only make kernels smaller.
    if (mesh->tensor.backend_name() == "nccl") options.groups.row_chunks = kRowChunks;
    if (mesh->context.backend_name() == "nccl") options.groups.head_chunks = kHeadChunks;
  }
  return models::load_model(inputs.model.folder, options);
}

}  // namespace hone::recipes
