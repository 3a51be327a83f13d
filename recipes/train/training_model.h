// The model a recipe trains.
#pragma once

#include "data/tokenizer.h"
#include "models/load.h"
#include "parallel/comm/mesh.h"
#include "recipes/inputs.h"
#include "recipes/recipe.h"
#include "recipes/train/dtype_choice.h"

namespace hone::recipes {

// Throws kBadInput for a tokenizer with more tokens than the model: ids past the embedding would
// read outside it. Rows without a token are harmless padding.
void check_vocabulary(const data::Tokenizer& tokenizer, const models::ModelSpec& spec,
                      const ResolvedInputs& inputs);

// What the rank has of a model that fits the recipe's layout, whose mesh this is.
models::Sharding training_sharding(const Recipe& recipe, const models::ModelSpec& spec,
                                   const parallel::Mesh& mesh);

// All of it trainable, or with the recipe's fresh or continued adapter; with a mesh what this rank
// has of it, else the whole. Not collective. Throws as load_model.
models::Model load_to_train(const Recipe& recipe, const ResolvedInputs& inputs,
                            const DtypeChoice& dtype, at::Device device,
                            const parallel::Mesh* mesh = nullptr);

}  // namespace hone::recipes
