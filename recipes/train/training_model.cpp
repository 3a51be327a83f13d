#include "recipes/train/training_model.h"

#include "core/error.h"

namespace hone::recipes {
namespace {

using core::ErrorKind;

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

models::Model load_to_train(const Recipe& recipe, const ResolvedInputs& inputs,
                            const DtypeChoice& dtype, at::Device device,
                            const models::Sharding& sharding) {
  models::LoadOptions options = load_options(recipe, inputs, dtype, device);
  options.sharding = sharding;
  return models::load_model(inputs.model.folder, options);
}

}  // namespace hone::recipes
